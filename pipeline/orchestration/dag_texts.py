"""What Airflow and the terminal show of a model and of its runs, in words."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import redact
from pipeline.orchestration.dag_facts import DagFacts

FLOW = {
    "plan": "Resolve the commits and say, for each step and partition, whether it must run and why.",
    "clean": "Read the partitions that must run, check them against their contract, quarantine and repair rows.",
    "transform": "Make the features of those partitions and collect the statistics of the training rows.",
    "normalize": "Merge the statistics, fit fills, encodings and scaling, compile them to ONNX, make the matrix.",
    "train": "Fit the model, convert it to ONNX, check that both predict the same.",
    "evaluate": "Score the model on the test rows: metrics with intervals, slices, plots, model card.",
    "release": "Judge it against the gate and the live release; tag and register it if it passes.",
    "deploy": "Serve the release, without a dropped request.",
    "verify": "Ask the server for a real prediction.",
}
"""What each step does, in order."""


def describe_model(path: Path, text: str, facts: DagFacts) -> str:
    """Write the DAG's documentation: what the model is, how it is made, and its spec.

    Parameters
    ----------
    text : str
        The spec as it is written.
    """
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.summary)
    flow = "\n".join(f"{number}. **{name}** {said}" for number, (name, said) in enumerate(FLOW.items(), 1))
    return redact(
        f"# {facts.name}\n\n{facts.description}\n\n| | |\n|---|---|\n{rows}\n\n"
        f"## The way through\n\n{flow}\n\nA step whose result is there already is reused. A model that misses its gate "
        f"is not released: `not_released` succeeds and says why, `deploy` and `verify` are skipped.\n\n"
        f"## The spec: {link_spec(path)}\n\n```yaml\n{text}\n```\n"
    )


def link_owner(owner: str) -> dict[str, str]:
    """Link an owner that is an e-mail address or a web address."""
    if re.fullmatch(r"[^@\s]+@[^@\s]+", owner):
        return {owner: f"mailto:{owner}"}
    return {owner: owner} if re.match(r"https?://[^/\s]+", owner) else {}


def link_spec(path: Path) -> str:
    """Link the spec to the web page of its Git repository's ``origin``; name its file where there is none."""
    root = next((folder for folder in path.resolve().parents if (folder / ".git" / "config").is_file()), None)
    name = path.resolve().relative_to(root).as_posix() if root else str(path)
    config = (root / ".git" / "config").read_text(encoding="utf-8", errors="replace") if root else ""
    origin = re.search(r'\[remote "origin"\][^\[]*?url = (?:https?://|git@|ssh://git@)(?:[^@/\s]+@)?(\S+)', config)
    if not origin:
        return f"`{name}`"
    page = re.sub(r"^([^/:]+):", r"\1/", origin[1].removesuffix(".git"))
    return f"[{name}](https://{page}/blob/HEAD/{name})"


def guess_name(path: Path) -> str:
    """Guess the model's name from a file that may be no valid spec, so that its DAG keeps its identifier."""
    try:
        text = path.read_bytes()[: 1 << 16].decode("utf-8", errors="replace")
    except OSError:  # a link to nowhere, say
        return name_after_file(path)
    name = re.search(r"""^model:.*?\bname:\s*["']?([A-Za-z][\w-]*)""", text, re.MULTILINE | re.DOTALL)
    return name[1] if name else name_after_file(path)


def name_after_file(path: Path) -> str:
    """Write the file's name in the characters that a DAG's identifier may have."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)
