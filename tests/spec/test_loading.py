"""Specs from files: mistakes of form, their places, environments, defaults."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError, SpecError
from pipeline.home import CHECKOUT
from pipeline.spec.files import find_environments, find_specs
from pipeline.spec.loading.loading import check_specs, load_spec

LINE = "model: {name: LinearRegression}\nenvironment: {platform: Local}\n"


def _write(folder: Path, text: str, name: str = "models/m.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _messages(path: Path, environment: str | None = None) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_spec(path, environment)
    return [str(problem).replace(f"{path.parents[1]}/", "") for problem in caught.value.problems]


def _wrong_forms() -> Iterator[tuple[str, list[str]]]:
    """Read `wrong_forms.txt`: a spec, and below it, indented, the messages about it."""
    text = Path(__file__).with_name("wrong_forms.txt").read_text(encoding="utf-8")
    for spec, messages in re.findall(r"((?:^\S.*\n)+)((?:^    .*\n)+)", text, re.MULTILINE):
        yield spec.strip(), [line.strip() for line in messages.splitlines()]


WRONG_FORMS = list(_wrong_forms())


@pytest.mark.parametrize(("text", "messages"), WRONG_FORMS, ids=[text for text, _ in WRONG_FORMS])
def test_a_wrong_form_is_told_with_its_place(text: str, messages: list[str], tmp_path: Path) -> None:
    path = _write(tmp_path, text)
    assert _messages(path) == [f"models/m.yaml:{message}" for message in messages]


def test_an_expression_is_wrong_at_the_very_character(tmp_path: Path) -> None:
    text = (
        "model: {name: m, target: y}\n"
        "data:\n"
        "  files: x.csv\n"
        "  columns: {y: float, x: float}\n"
        "  derive:\n"
        "    z: x + yy\n"
        "    w: 'x + yy'\n"
    )
    found = "found the unknown column 'yy'; expected a column of data.columns or data.derive ('y', 'x', 'z', 'w')"
    problems = [message for message in _messages(_write(tmp_path, text)) if "unknown column" in message]
    assert problems == [
        f"models/m.yaml:6:12: data.derive.z: {found}; did you mean 'y'?",
        f"models/m.yaml:7:13: data.derive.w: {found}; did you mean 'y'?",
    ]


def test_mistakes_of_form_do_not_hide_contradictions(tmp_path: Path) -> None:
    text = "model: {name: m, trainr: mlp}\nevaluate: {metrics: [acuracy]}\nsplit: {test: 0, tst: 1}\n"
    places = [message.split(": found")[0] for message in _messages(_write(tmp_path, text))]
    assert places == [
        "models/m.yaml:1:18: model.trainr",
        "models/m.yaml:2:22: evaluate.metrics.0",
        "models/m.yaml:3:15: split.test",
        "models/m.yaml:3:18: split.tst",
    ]


def test_the_two_lines_of_a_tutorial_are_a_spec(tmp_path: Path) -> None:
    loaded = load_spec(_write(tmp_path, LINE))
    assert loaded.name == "LinearRegression"
    assert loaded.section("environment") == {"platform": "local", "region": None, "prices": None, "models": []}
    assert {name: column["type"] for name, column in loaded.section("data")["columns"].items()} == {
        "x": "float",
        "y": "float",
    }
    model = loaded.spec.model
    assert (model.trainer, model.task, model.target) == ("linear_regression", "regression", "y")


def test_the_tutorial_with_a_cloud_is_a_spec(tmp_path: Path) -> None:
    text = (
        "model: {name: AIModel, params: {learning_rate: 0.001, epochs: 100}}\n"
        "environment: {platform: AWS, region: us-west-2}\n"
        "monitoring: {metrics: [accuracy, loss]}\n"
    )
    loaded = load_spec(_write(tmp_path, text))
    assert loaded.spec.environment.platform == "aws"
    assert loaded.spec.model.params == {"learning_rate": 0.001, "epochs": 100}


def test_sections_are_equal_for_specs_that_mean_the_same(tmp_path: Path) -> None:
    short = load_spec(_write(tmp_path, LINE))
    text = "model: {seed: 0, task: regression, target: y, trainer: Linear Regression, name: LinearRegression}\n"
    long = load_spec(_write(tmp_path, text, "models/n.yaml"))
    assert long.section("model") == short.section("model")
    assert long.section("data") == short.section("data")


def test_times_are_read_as_utc(tmp_path: Path) -> None:
    text = (
        "model: {name: m, target: y}\ndata: {files: x.csv, columns: {t: datetime, y: float}}\n"
        "split: {by: time, column: t, test_from: 2013-11-01T02:00:00+02:00}\n"
    )
    assert load_spec(_write(tmp_path, text)).section("split")["test_from"] == "2013-11-01T00:00:00"


@pytest.mark.parametrize("folder", ["environments", "models/environments"])
def test_an_environment_is_laid_over_the_spec(folder: str, tmp_path: Path) -> None:
    path = _write(tmp_path, LINE + "deploy: {port: 1, workers: 2}\nevaluate: {metrics: [rmse, mae]}\n")
    overlay = _write(tmp_path, "deploy: {port: 9}\nevaluate: {metrics: [r2]}\n", f"{folder}/prod.yaml")
    loaded = load_spec(path, "prod")
    assert loaded.overlay is not None
    assert (loaded.environment, loaded.overlay.resolve()) == ("prod", overlay)
    assert (loaded.spec.deploy.port, loaded.spec.deploy.workers) == (9, 2)
    assert loaded.spec.evaluate.metrics == ["r2"]
    assert load_spec(path).spec.deploy.port == 1
    assert loaded.overlay_text == "deploy: {port: 9}\nevaluate: {metrics: [r2]}\n"


def test_problems_point_into_the_file_that_is_wrong(tmp_path: Path) -> None:
    path = _write(tmp_path, "model:\n  nme: m\ndeploy: {port: 1}\n")
    _write(tmp_path, "deploy: {prt: 9}\nmodel: {seed: x}\n", "environments/prod.yaml")
    assert [message.split(": found")[0] for message in _messages(path, "prod")] == [
        "environments/prod.yaml:1:10: deploy.prt",
        "environments/prod.yaml:2:15: model.seed",
        "models/m.yaml:1:1: model",
        "models/m.yaml:2:3: model.nme",
    ]


def test_a_broken_environment_does_not_hide_the_spec_s_mistakes(tmp_path: Path) -> None:
    path = _write(tmp_path, "model: {name: m, seed: x}\n")
    _write(tmp_path, "deploy: [", "environments/prod.yaml")
    assert _messages(path, "prod") == [
        "environments/prod.yaml:1:10: found the end of the file inside brackets; expected the closing `]` or `}`",
        "models/m.yaml:1:24: model.seed: found the text 'x'; expected a whole number",
    ]


def test_an_unknown_environment_names_those_that_exist(tmp_path: Path) -> None:
    path = _write(tmp_path, LINE)
    for name in ("dev", "prod"):
        _write(tmp_path, "deploy: {port: 0}", f"environments/{name}.yaml")
    with pytest.raises(InputError) as caught:
        load_spec(path, "prd")
    message = "environment: found 'prd'; expected one of 'dev', 'prod'; did you mean 'prod'?"
    assert str(caught.value) == message
    assert find_environments(path) == ["dev", "prod"]


@pytest.mark.parametrize("name", ["../models/m", "", "a/b", "."])
def test_an_environment_is_a_name_not_a_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="environment: found"):
        load_spec(_write(tmp_path, LINE), name)


def test_one_bad_spec_never_hides_another(tmp_path: Path) -> None:
    bad = [
        _write(tmp_path, "model: [", "models/a.yaml"),
        tmp_path / "models/b.yaml",
        _write(tmp_path, "model: {name: m, seed: x}", "models/c.yaml"),
        _write(tmp_path, LINE, "models/d.yaml"),
    ]
    assert [str(problem).replace(f"{tmp_path}/", "") for problem in check_specs(bad)] == [
        "models/a.yaml:1:9: found the end of the file inside brackets; expected the closing `]` or `}`",
        "models/b.yaml: found no such file; expected the path of a YAML file",
        "models/c.yaml:1:24: model.seed: found the text 'x'; expected a whole number",
    ]


def test_two_specs_may_not_have_one_name(tmp_path: Path) -> None:
    first = _write(tmp_path, LINE, "models/a.yaml")
    second = _write(tmp_path, LINE.replace("LinearRegression", "linearregression"), "models/b.yml")
    assert find_specs(tmp_path / "models") == [first, second]
    assert list(map(str, check_specs([first, second]))) == [
        (
            f"{second}:1:15: model.name: found 'linearregression', which {first} has too; "
            "expected a name of its own for each model"
        )
    ]


CLUSTER = """
environment: {platform: kubernetes}
deploy:
  image: {base: "r.example/s:1", repository: r.example/models}
  namespace: models
"""
TRIED = """
  replicas: 4
  strategy: canary
  canary: {steps: [{weight: 25}]}
"""


def test_two_models_may_not_want_one_object_of_a_cluster(tmp_path: Path) -> None:
    first = _write(tmp_path, "model: {name: churn}", "models/a.yaml")
    second = _write(tmp_path, "model: {name: churn-baseline}", "models/b.yaml")
    _write(tmp_path, CLUSTER, "environments/prod.yaml")
    assert check_specs([first, second]) == [], "neither makes more than its own"
    _write(tmp_path, CLUSTER + TRIED, "environments/prod.yaml")
    (problem,) = check_specs([first, second])
    assert str(problem) == (
        f"{second}:1:15: model.name: found 'churn-baseline', whose Deployment churn-baseline in the namespace 'models'"
        f" is also that of 'churn' in the environment 'prod' ({first}); expected another name for one of them, or"
        " another namespace (deploy.namespace)"
    )
    _write(tmp_path, "model: {name: churn-baseline}\ndeploy: {namespace: own}", "models/b.yaml")
    _write(tmp_path, (CLUSTER + TRIED).replace("  namespace: models\n", ""), "environments/prod.yaml")
    assert check_specs([first, second]) == [], "each has its namespace"


def test_two_environments_of_a_model_may_not_have_one_namespace_of_one_cluster(tmp_path: Path) -> None:
    path = _write(tmp_path, "model: {name: churn}")
    for name in ("prod", "test"):
        _write(tmp_path, CLUSTER, f"environments/{name}.yaml")
    assert check_specs([path]) == [], "each may be a cluster of its own"
    for name in ("prod", "test"):
        _write(tmp_path, f"{CLUSTER}  context: main\n", f"environments/{name}.yaml")
    (problem,) = check_specs([path])
    assert str(problem).startswith(
        f"{tmp_path}/environments/test.yaml:5:14: deploy.namespace: found 'models' for 'churn'"
    )
    assert problem.found.endswith("is also that of 'churn' in the environment 'prod'")
    assert check_specs([path], "test") == []


HOST = """
environment: {platform: server}
deploy: {server: {host: root@shop}, port: 9000}
"""


def test_two_models_may_not_listen_on_one_port_of_a_host(tmp_path: Path) -> None:
    first = _write(tmp_path, "model: {name: churn}", "models/a.yaml")
    second = _write(tmp_path, "model: {name: fraud}", "models/b.yaml")
    _write(tmp_path, HOST, "environments/prod.yaml")
    (problem,) = check_specs([first, second])
    assert problem.where == "deploy.port"
    assert problem.found == f"9000, on which 'churn' listens too in the environment 'prod' ({first})"
    _write(tmp_path, HOST.replace("{platform", "{models: [churn], platform"), "environments/prod.yaml")
    assert check_specs([first, second]) == [], "only one of them goes there"


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ({}, {}, True),
        ({"listen": "::"}, {"listen": "10.0.0.1"}, True),
        ({"listen": "10.0.0.2"}, {"listen": "10.0.0.1"}, False),
        ({"host": "ann@shop"}, {"host": "shop"}, True),
        ({"host": "shop"}, {"host": "office"}, False),
    ],
)
def test_servers_meet_on_one_port_of_one_address(
    one: dict[str, str], other: dict[str, str], tmp_path: Path, *, meet: bool
) -> None:
    paths = []
    for name, server in (("churn", one), ("fraud", other)):
        told = {"host": "shop", **server}
        text = f"model: {{name: {name}}}\nenvironment: {{platform: server}}\ndeploy: {{server: {told}, port: 9000}}\n"
        paths.append(_write(tmp_path, text, f"models/{name}.yaml"))
    assert [each.where for each in check_specs(paths)] == (["deploy.port"] if meet else [])


def test_check_looks_at_every_environment(tmp_path: Path) -> None:
    path = _write(tmp_path, LINE)
    _write(tmp_path, "deploy: {port: x}", "environments/prod.yaml")
    assert [problem.where for problem in check_specs([path])] == ["deploy.port"]


def test_what_only_an_environment_makes_a_mistake_of_the_spec_names_it(tmp_path: Path) -> None:
    path = _write(tmp_path, "model: {name: m, target: y, trainer: ridge, params: {alpha: 1, alhpa: 2}}\n")
    _write(tmp_path, "model: {trainer: svm}", "environments/dev.yaml")
    for environment in (None, "dev"):
        problems = check_specs([path], environment)
        found = {each.where: each.found for each in problems if each.where.startswith("model.params")}
        (told,) = (each for name, each in found.items() if name.endswith(".alpha"))
        assert told == "a parameter that svm does not have in the environment 'dev'"


def test_a_folder_without_specs_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_specs(tmp_path)
    assert str(caught.value) == f"{tmp_path}: found no spec; expected one such as {tmp_path / 'my-model.yaml'}"


def test_what_looks_like_a_spec_and_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, LINE)
    (tmp_path / "models" / "gone.yaml").symlink_to("../elsewhere/gone.yaml")
    (tmp_path / "models" / "folder.yml").mkdir()
    (tmp_path / "models" / ".#m.yaml").symlink_to("ann@machine.1234")  # Emacs, while it edits m.yaml
    monkeypatch.chdir(tmp_path)
    assert [str(problem) for problem in check_specs()] == [
        "models/folder.yml: found a folder; expected a YAML file, such as models/folder.yml/my-model.yaml",
        "models/gone.yaml: found a link to ../elsewhere/gone.yaml, which isn't there; expected a YAML file",
    ]


def test_the_specs_of_this_repository_are_right() -> None:
    assert check_specs([*find_specs(CHECKOUT / "models"), *find_specs(CHECKOUT / "examples")]) == []
    assert set(find_environments(CHECKOUT / "models" / "flight-delay.yaml")) >= {"dev", "prod"}


_KEYS = st.sampled_from(
    ["model", "name", "params", "data", "columns", "derive", "clean", "missing", "transform", "x", "*"]
)
_WORDS = st.sampled_from(["drop", "float", "x > 1"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)
_RUNS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _load_or_refuse(path: Path) -> None:
    try:
        load_spec(path)
    except InputError as error:
        message = str(error)
    else:
        return
    assert "; expected " in message


@_RUNS
@given(st.binary(max_size=200) | st.text(alphabet=" \n\t:-[]{}&*!|>'\"%@#,?ab1.\\", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(content)
    _load_or_refuse(path)


@_RUNS
@given(st.dictionaries(_KEYS, _VALUES, max_size=4), st.booleans())
def test_any_data_are_read_or_refused(tmp_path: Path, data: dict[str, object], named: object) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(json.dumps(data | ({"model": {"name": "m"}} if named else {})), encoding="utf-8")
    _load_or_refuse(path)


_COLUMNS = st.dictionaries(
    st.sampled_from(["x", "y", "t"]), st.sampled_from(["float", "str", "datetime", "bool"]), max_size=3
)
_EXPRESSIONS = st.dictionaries(
    st.sampled_from(["z", "w", "x"]), st.sampled_from(["x + 1", "w", "z", "y > 'a'", "(", "t - t"]), max_size=3
)
_NAMES = st.sampled_from(["x", "y", "t", "z"])
_PARTS: dict[str, st.SearchStrategy[object]] = {
    "model": st.fixed_dictionaries(
        {"name": st.just("m")},
        optional={
            "target": _NAMES,
            "trainer": st.sampled_from(["svc", "ridge", "no"]),
            "params": st.dictionaries(st.sampled_from(["alpha", "C"]), _VALUES, max_size=2),
        },
    ),
    "data": st.fixed_dictionaries(
        {"files": st.just("x.csv"), "columns": _COLUMNS},
        optional={"derive": _EXPRESSIONS, "key": st.lists(_NAMES, max_size=2)},
    ),
    "clean": st.fixed_dictionaries(
        {"missing": st.dictionaries(_NAMES, st.sampled_from(["mean", "drop", 0, True, "keep", None]), max_size=3)}
    ),
    "transform": st.dictionaries(
        _NAMES, st.sampled_from(["log", "cyclic", "bins", "category", "date_parts"]), max_size=3
    ),
    "split": st.fixed_dictionaries(
        {"by": st.sampled_from(["key", "time", "group"])},
        optional={"column": _NAMES, "test": st.sampled_from([0, 0.5, 0.9]), "validation": st.just(0.5)},
    ),
}
_OPTIONAL = {name: part for name, part in _PARTS.items() if name != "model"}


@_RUNS
@given(st.fixed_dictionaries({"model": _PARTS["model"]}, optional=_OPTIONAL))
def test_any_combination_is_read_or_refused(tmp_path: Path, data: dict[str, object]) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    _load_or_refuse(path)


def test_loading_a_spec_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline.spec.loading.loading import load_spec; "
        "from pipeline.spec.reference import publishing;"
        "load_spec('models/flight-delay.yaml', 'prod');"
        "heavy = ('pandas', 'numpy', 'sklearn', 'mlflow', 'onnx', 'onnxruntime', 'matplotlib', 'airflow');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
