from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.operations.doctor import Finding, examine


def find(name: str, state: Path) -> Finding:
    return next(finding for finding in examine(state) if finding.name == name)


def test_doctor_finds_what_the_tests_run_with(tmp_path: Path) -> None:
    found = {finding.name: finding for finding in examine(tmp_path)}
    assert found["Python"].ok
    assert found["Python"].found == ".".join(map(str, sys.version_info[:3]))
    assert found["git"].ok
    assert found["Airflow"].ok
    assert found["state folder"].ok


def test_doctor_says_how_to_mend_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {finding.name: finding for finding in examine(tmp_path)}
    assert found["git"].ok is False
    assert "apt-get install git" in found["git"].mend
    assert found["kubectl"].ok is None
    assert found["container tool"].found == "missing"


def test_doctor_misses_the_git_identity_but_can_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.chdir(tmp_path)
    identity = find("git identity", tmp_path)
    assert identity.ok is None
    assert "git config --global user.name" in identity.mend


def test_doctor_notices_a_locked_mlflow_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    locked = find("MLflow", tmp_path)
    holder.rollback()
    holder.close()
    assert locked.ok is False
    assert "database is locked" in locked.found
    assert find("MLflow", tmp_path).ok


def test_doctor_notices_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", 5000))
        except OSError:
            pytest.skip("port 5000 is in use on this machine")
        server.listen()
        assert find("port 5000", tmp_path).ok is None


def test_doctor_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; "
        "from pipeline.operations.doctor import examine; examine(Path(sys.argv[1])); "
        "print({'pandas', 'mlflow', 'airflow', 'sklearn', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
