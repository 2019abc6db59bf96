"""What `check` has found, in the forms in which CI systems show it beside the lines that are meant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from xml.etree import ElementTree as ET

from pipeline.errors import Problem

_SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RULE = "modelrail-check"


def to_github(_specs: Sequence[str], problems: Sequence[Problem]) -> str:
    """Write a workflow command of GitHub for each problem; Gitea and Forgejo read the same."""
    return "".join(
        f"::error file={_property(each.file)},line={max(each.line, 1)},col={max(each.column, 1)},"
        f"title={_property(each.where or 'modelrail check')}::{_escape(_message(each))}\n"
        for each in problems
    )


def to_azure(_specs: Sequence[str], problems: Sequence[Problem]) -> str:
    """Write a logging command of Azure Pipelines for each problem."""
    return "".join(
        f"##vso[task.logissue type=error;sourcepath={_azure_property(each.file)};linenumber={max(each.line, 1)};"
        f"columnnumber={max(each.column, 1)};]{_azure(_message(each))}\n"
        for each in problems
    )


def to_gitlab(_specs: Sequence[str], problems: Sequence[Problem]) -> str:
    """Write GitLab's code-quality report; a problem keeps its fingerprint while only its line moves."""
    return _document(
        [
            {
                "description": _message(each),
                "check_name": _RULE,
                "fingerprint": hashlib.sha256(f"{each.file}\n{_message(each)}".encode()).hexdigest(),
                "severity": "blocker",
                "location": {"path": each.file, "lines": {"begin": max(each.line, 1)}},
            }
            for each in problems
        ]
    )


def to_junit(specs: Sequence[str], problems: Sequence[Problem]) -> str:
    """Write JUnit XML: a test case for each spec, and for each other file that has a problem."""
    by_file: dict[str, list[Problem]] = {each: [] for each in specs}
    for each in problems:
        by_file.setdefault(each.file, []).append(each)
    failing = sum(bool(found) for found in by_file.values())
    counts = {"tests": str(len(by_file)), "failures": str(failing), "errors": "0", "time": "0"}
    root = ET.Element("testsuites", {"name": "modelrail check", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": "modelrail check", **counts})
    for file, found in by_file.items():
        line = str(found[0].line) if found else "1"
        name = _printable(file)
        case = ET.SubElement(
            suite, "testcase", {"classname": "modelrail.check", "name": name, "file": name, "line": line, "time": "0"}
        )
        if found:  # a case fails once, whatever the number of its mistakes
            text = "\n".join(_printable(str(each)) for each in found)
            ET.SubElement(case, "failure", {"message": _printable(_message(found[0])), "type": _RULE}).text = text
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def to_sarif(_specs: Sequence[str], problems: Sequence[Problem]) -> str:
    """Write SARIF 2.1.0, which code scanners of GitHub, Azure and Jenkins read."""
    driver = {
        "name": "modelrail",
        "rules": [{"id": _RULE, "shortDescription": {"text": "A spec says what Modelrail cannot do."}}],
    }
    results = [
        {
            "ruleId": _RULE,
            "level": "error",
            "message": {"text": _message(each)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": _uri(each.file)},
                        "region": {"startLine": max(each.line, 1), "startColumn": max(each.column, 1)},
                    }
                }
            ],
        }
        for each in problems
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return _document({"$schema": _SARIF, "version": "2.1.0", "runs": [run]})


REPORTS: Mapping[str, Callable[[Sequence[str], Sequence[Problem]], str]] = {
    "github": to_github,
    "gitlab": to_gitlab,
    "azure": to_azure,
    "junit": to_junit,
    "sarif": to_sarif,
}
"""Form → what writes it, of the files that were checked and of what was found in them."""


def _message(problem: Problem) -> str:
    where = f"{problem.where}: " if problem.where else ""
    return f"{where}found {problem.found}; expected {problem.expected}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")


def _azure(text: str) -> str:
    return text.replace("%", "%AZP25").replace("\r", "%0D").replace("\n", "%0A")


def _azure_property(text: str) -> str:
    return _azure(text).replace(";", "%3B").replace("]", "%5D")


def _printable(text: str) -> str:
    """Replace what no XML may hold."""
    return "".join(each if each.isprintable() or each in "\n\t" else "�" for each in text)


def _uri(file: str) -> str:
    from urllib.parse import quote

    return quote(str(PurePosixPath(file)))


def _document(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
