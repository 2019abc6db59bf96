"""What `check` finds is shown beside the lines that are meant, by each CI system."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pipeline.errors import Problem
from pipeline.integrations.annotations import REPORTS
from tests.conftest import Commit
from tests.ui.test_cli import modelrail

PROBLEM = Problem("models/a,b.yaml", 3, 7, "model.trainer", "the text 'r%:\nx'", "one of ridge; or [lasso]")
FILE = Problem("environments/prod.yaml", 0, 0, "", "no <such> file\x00", "a YAML file")
BROKEN = "model: {name: line, trainr: ridge, target: y}\ndata: {files: 'data/{part}.csv'}\n"


def report(form: str, *problems: Problem) -> str:
    return REPORTS[form](["models/a,b.yaml", "models/good.yaml"], problems)


def test_github_s_workflow_commands_escape_what_would_end_them() -> None:
    first, second = report("github", PROBLEM, FILE).splitlines()
    assert first == (
        "::error file=models/a%2Cb.yaml,line=3,col=7,title=model.trainer::"
        "model.trainer: found the text 'r%25:%0Ax'; expected one of ridge; or [lasso]"
    )
    assert second.startswith("::error file=environments/prod.yaml,line=1,col=1,title=modelrail check::found no <such>")


def test_azure_s_logging_commands_escape_what_would_end_them() -> None:
    (line,) = report("azure", PROBLEM).splitlines()
    assert line == (
        "##vso[task.logissue type=error;sourcepath=models/a,b.yaml;linenumber=3;columnnumber=7;]"
        "model.trainer: found the text 'r%AZP25:%0Ax'; expected one of ridge; or [lasso]"
    )


def test_gitlab_s_report_keeps_a_fingerprint_while_only_the_line_moves() -> None:
    """Or each push would show an old mistake as a new one."""
    moved = Problem(*(PROBLEM.file, 9, 1), PROBLEM.where, PROBLEM.found, PROBLEM.expected)
    here, there, other = json.loads(report("gitlab", PROBLEM, moved, FILE))
    assert (here["location"], there["location"]["lines"]) == (
        {"path": PROBLEM.file, "lines": {"begin": 3}},
        {"begin": 9},
    )
    assert here["fingerprint"] == there["fingerprint"] != other["fingerprint"]
    assert set(here) == {"description", "check_name", "fingerprint", "severity", "location"}
    assert here["severity"] in {"info", "minor", "major", "critical", "blocker"}


def test_junit_has_a_case_for_each_spec_and_each_file_with_a_mistake() -> None:
    root = ET.fromstring(report("junit", PROBLEM, PROBLEM, FILE))  # noqa: S314 - our own
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "3", "2")
    cases = {case.get("name"): case.find("failure") for case in root.iter("testcase")}
    assert list(cases) == ["models/a,b.yaml", "models/good.yaml", "environments/prod.yaml"]
    failure = cases["models/a,b.yaml"]
    assert failure is not None
    assert (failure.text or "").count("models/a,b.yaml:3:7: model.trainer") == 2
    assert cases["models/good.yaml"] is None


def test_sarif_points_at_line_and_column() -> None:
    document = json.loads(report("sarif", PROBLEM))
    (run,) = document["runs"]
    (result,) = run["results"]
    assert document["version"] == "2.1.0"
    assert result["ruleId"] in {each["id"] for each in run["tool"]["driver"]["rules"]}
    place = result["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "models/a%2Cb.yaml"},
        "region": {"startLine": 3, "startColumn": 7},
    }


@pytest.mark.parametrize("form", REPORTS)
def test_a_check_that_finds_nothing_is_a_whole_report(form: str) -> None:
    text = report(form)
    if form in ("gitlab", "sarif"):
        document = json.loads(text)
        assert document == [] or document["runs"][0]["results"] == []
    elif form == "junit":
        assert ET.fromstring(text).get("failures") == "0"  # noqa: S314 - our own
    else:
        assert not text


def test_check_prints_one_report_and_writes_others_with_paths_of_the_repository(project: Path, commit: Commit) -> None:
    commit({"ml/models/line.yaml": BROKEN})
    done = modelrail(
        ["check", "--report", "github", "--report", "junit=out/check.xml", "--report", "sarif=out/check.sarif"],
        project / "ml",
    )
    assert done.returncode == 2
    assert done.stdout.splitlines()[0].startswith("::error file=ml/models/line.yaml,line=1,col=")
    assert all(line.startswith("::error ") for line in done.stdout.splitlines())
    (case,) = ET.parse(project / "ml/out/check.xml").getroot().iter("testcase")  # noqa: S314 - our own
    assert case.get("file") == "ml/models/line.yaml"
    assert "ml/models/line.yaml" in (project / "ml/out/check.sarif").read_text()


def test_check_with_reports_in_files_still_tells_people(project: Path, commit: Commit) -> None:
    commit({"models/line.yaml": BROKEN})
    done = modelrail(["check", "--report", "gitlab=report.json"], project)
    assert done.returncode == 2
    assert "models/line.yaml:1:" in done.stdout
    assert json.loads((project / "report.json").read_text())


def test_a_form_that_there_is_not_is_refused_before_anything_is_read(project: Path) -> None:
    for wrong in ("githup", "junit="):
        done = modelrail(["check", "--report", wrong], project)
        assert done.returncode == 2
        assert f"--report: found '{wrong}'; expected github, gitlab, azure, junit or sarif" in done.stderr


def test_a_file_of_any_name_is_reported(project: Path, commit: Commit) -> None:
    commit({"models/line.yaml": BROKEN})
    for number, name in enumerate((b"a\x01.yaml", b"caf\xe9.yaml", b"a\n.yaml")):
        (project / "models" / os.fsdecode(name)).write_text(BROKEN.replace("line", f"line-{number}"))
    reports = [f"--report={form}=out/{form}" for form in REPORTS]
    done = modelrail(["check", *reports], project)
    assert "Traceback" not in done.stderr, done.stderr
    assert ET.parse(project / "out/junit").getroot().get("failures") == "4"  # noqa: S314 - our own
    assert all(line.startswith("::error ") for line in (project / "out/github").read_text().splitlines())


def test_a_report_is_not_written_through_a_link_that_a_commit_may_hold(project: Path, commit: Commit) -> None:
    commit({"models/line.yaml": BROKEN})
    (project / "check.xml").symlink_to(project.parent / "outside")
    done = modelrail(["check", "--report", "junit=check.xml"], project)
    assert done.returncode == 2
    assert "check.xml: found a link; expected" in done.stderr
    assert not (project.parent / "outside").exists()
