"""What is generated from the spec's types: the JSON Schema for editors, the reference for people.

``python -m pipeline.spec.reference.publishing`` rewrites both in the current folder.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.spec.reference import markdown
from pipeline.spec.reference.json_schema import json_schema

__all__ = ["json_schema", "publish", "schema_text", "spec_markdown"]


def schema_text() -> str:
    """Write the text of ``models/model.schema.json``."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def spec_markdown() -> str:
    """Write the text of ``docs/spec.md``."""
    return markdown.spec_markdown(json_schema())


def publish(root: Path) -> list[Path]:
    """Write both below ``root``.

    Returns
    -------
    list of Path
        The files written.
    """
    texts = {root / "models" / "model.schema.json": schema_text(), root / "docs" / "spec.md": spec_markdown()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(texts)


if __name__ == "__main__":
    publish(Path())
