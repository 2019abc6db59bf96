"""The files of a model in MLflow's registry, from which MLflow's own client predicts.

They are written without importing what the model needs: the process that records does without it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.home import CHECKOUT
from pipeline.model.columns import ColumnType
from pipeline.model.reference import REFERENCE

LOADER, NATIVE_LOADER = "runs/tracking/loaded_model.py", "runs/tracking/native_model.py"
SHIPPED = (
    "errors.py", "extras.py", "messages.py",
    "model/__init__.py", "model/columns.py", "model/missing.py", "model/signature.py", "model/task.py",
    "model/texts.py", "model/words.py",
    "model/images/__init__.py", "model/images/decoding.py", "model/images/headers.py", "model/images/rules.py",
    "model/sentences/__init__.py", "model/sentences/encoding.py", "model/sentences/pieces.py",
    "serving/__init__.py", "serving/rows/__init__.py", "serving/rows/columns.py", "serving/rows/faults.py",
    "serving/rows/records.py", "serving/scoring/__init__.py", "serving/scoring/served.py",
    "serving/scoring/sessions.py",
)  # fmt: skip
"""Modules that the loader imports, however indirectly."""

_IMPORT = re.compile(rb"(?m)^(\s*(?:from|import) )pipeline\b")
_NEUTRAL: Mapping[ColumnType, Any] = {
    "float": 0.0, "int": 0, "bool": False, "str": "private", "datetime": "1970-01-01T00:00:00+00:00", "image": None,
}  # fmt: skip
"""What stands for a private value that must be there."""
_CLASS_TYPES: Mapping[type, str] = {bool: "boolean", int: "long", float: "double", str: "string"}
_PYTHON = ".".join(map(str, sys.version_info[:3]))

Facts = dict[str, Any]


def write_model(folder: Path, bundle: Path, base: Facts, private: Collection[str] = ()) -> None:
    """Write everything that MLflow loads and shows of a release.

    Parameters
    ----------
    folder : Path
        Is filled: the bundle's files, the code that loads them, requirements, an example and ``MLmodel``.
    base : dict
        What MLflow itself says of a model: its run, its id, when it was made.
    private : collection of str
        Columns whose values of a real record are replaced.
    """
    signature = json.loads((bundle / "signature.json").read_bytes())
    _copy_bundle(bundle, folder, signature, [name for name in private if name in signature["example"]])
    is_graph = (folder / "model.onnx").exists()
    loader = _ship_graph_loader(folder / "code") if is_graph else _ship_native_loader(folder / "code")
    requirements = _requirements(signature, is_graph=is_graph)
    _write_environment(folder, requirements)
    _write_example(folder, signature["example"])
    flavors: Facts = {
        "python_function": {
            "loader_module": loader,
            "code": "code",
            "python_version": _PYTHON,
            "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        }
    }
    if is_graph:
        flavors["onnx"] = {"data": "model.onnx", "onnx_version": _installed("onnx"), "code": None}
    facts = base | {"flavors": flavors, "signature": _schema(signature), "metadata": signature}
    facts["saved_input_example_info"] = {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        "type": "dataframe",
        "pandas_orient": "split",
    }
    (folder / "MLmodel").write_text(_yaml(facts), "utf-8")


def _copy_bundle(bundle: Path, folder: Path, signature: Facts, private: Collection[str]) -> None:
    """Copy a bundle; where columns are private, with another example, without their values and the key's signature."""
    for path in bundle.iterdir():
        shutil.copyfile(path, folder / path.name)
    if not private:
        return
    for each in signature["inputs"]:
        if each["name"] in private:
            signature["example"][each["name"]] = None if each["nullable"] else _neutral(each)
    content = json.dumps(signature).encode()
    (folder / "signature.json").write_bytes(content)
    record = json.loads((folder / "release.json").read_bytes())
    record["files"]["signature.json"] = hashlib.sha256(content).hexdigest()
    record["files"].pop(REFERENCE, None)  # it has values of every column, and MLflow's client counts nothing
    (folder / "release.json").write_text(json.dumps(record, indent=1), "utf-8")
    (folder / "model.sig").unlink(missing_ok=True)
    (folder / REFERENCE).unlink(missing_ok=True)


def _neutral(column: Facts) -> Any:
    from datetime import datetime

    value = _NEUTRAL[column["type"]]
    return datetime.fromisoformat(value).strftime(column["format"]) if column.get("format") else value


def _ship_graph_loader(code: Path) -> str:
    """Copy the loader and what it imports as a package of its own, named by their content; return the loader's name.

    So two models that were recorded by different versions of Modelrail can be loaded by one process.
    """
    sources = {name: (CHECKOUT / "pipeline" / name).read_bytes() for name in SHIPPED}
    sources["__init__.py"] = (CHECKOUT / "pipeline" / LOADER).read_bytes()
    digest = hashlib.sha256(b"\0".join(sources.values())).hexdigest()
    package = f"modelrail_model_{digest[:12]}"
    for name, source in sources.items():
        target = code / package / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_IMPORT.sub(rb"\g<1>" + package.encode(), source))
    return package


def _ship_native_loader(code: Path) -> str:
    code.mkdir()
    shutil.copyfile(CHECKOUT / "pipeline" / NATIVE_LOADER, code / "modelrail_native_model.py")
    return "modelrail_native_model"


def _requirements(signature: Facts, *, is_graph: bool) -> list[str]:
    names = ["mlflow", "numpy", "onnxruntime", "pandas"]
    names += [] if is_graph else ["modelrail", "scikit-learn", "skops"]
    if any(each["type"] == "image" for each in signature["inputs"]):
        names += ["opencv-python-headless", "pybase64"]
    return sorted(f"{name}=={found}" for name in names if (found := _installed(name)))


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _write_environment(folder: Path, requirements: Iterable[str]) -> None:
    """Write what the model needs, as MLflow's environment managers read it."""
    (folder / "requirements.txt").write_text("".join(f"{each}\n" for each in requirements), "utf-8")
    built_with: Facts = {"python": _PYTHON, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(_yaml(built_with), "utf-8")
    packages: list[Any] = [f"python={_PYTHON}", "pip", {"pip": list(requirements)}]
    conda = {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": packages}
    (folder / "conda.yaml").write_text(_yaml(conda), "utf-8")


def _write_example(folder: Path, example: Facts) -> None:
    frame = {"columns": list(example), "data": [list(example.values())]}
    (folder / "input_example.json").write_text(json.dumps(frame), "utf-8")
    (folder / "serving_input_example.json").write_text(json.dumps({"dataframe_split": frame}), "utf-8")


def _schema(signature: Facts) -> dict[str, str | None]:
    """Write the inputs and outputs as MLflow does.

    A column's type is ``any``: for ``double`` MLflow would refuse a frame's column of integers, for ``string`` one of
    categories, before the model sees it. The model looks at the values, as the server does; ``metadata`` has the types.
    """
    inputs = [{"type": "any", "name": each["name"], "required": True} for each in signature["inputs"]]
    classes = signature["classes"]
    kinds = {type(each) for each in classes or ()}
    kind = "double" if classes is None else _CLASS_TYPES.get(kinds.pop(), "any") if len(kinds) == 1 else "any"
    outputs = [{"type": kind, "name": "prediction", "required": True}]
    asks = [{"name": "probabilities", "type": "boolean", "default": False, "shape": None}]
    params = None if classes is None else json.dumps(asks)
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": params}


def _yaml(facts: Facts) -> str:
    import yaml

    return str(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))
