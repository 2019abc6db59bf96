"""Print what an image holds, as CycloneDX 1.6: Python packages of a folder, and Debian's of the base image.

The same image gives the same bytes: nothing of the day or of the machine is in it. Only the standard library is
used, since it runs while the image is being built.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

DEBIAN = Path("/var/lib/dpkg/status")


def main() -> None:
    """Print the document."""
    components = [*python_packages(sys.argv[1:]), *debian_packages(DEBIAN)]
    json.dump({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}, sys.stdout)


def python_packages(folders: list[str]) -> list[dict[str, Any]]:
    """List the distributions in folders, by name."""
    found = {(each.metadata["Name"].lower().replace("_", "-"), each.version) for each in distributions(path=folders)}
    return [component(name, version, f"pkg:pypi/{name}@{version}") for name, version in sorted(found)]


def debian_packages(status: Path) -> list[dict[str, Any]]:
    """List the packages that dpkg knows; none where the base image is not Debian's."""
    text = status.read_text("utf-8", "replace") if status.exists() else ""
    found = []
    for paragraph in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if "installed" in fields.get("Status", ""):
            name, version = fields["Package"], fields["Version"]
            found.append(component(name, version, f"pkg:deb/debian/{name}@{version}?arch={fields['Architecture']}"))
    return sorted(found, key=lambda each: each["name"])


def component(name: str, version: str, purl: str) -> dict[str, Any]:
    """Describe one package."""
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    main()
