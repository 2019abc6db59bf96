from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.orchestration.services import settings
from pipeline.orchestration.services.starting import _make_commands


def make_places(tmp_path: Path) -> settings.Places:
    places = settings.Places(tmp_path, tmp_path / "project", tmp_path / "models", 8091, 5001)
    settings.prepare_airflow_home(places.airflow_home)
    return places


def test_secrets_are_made_once_and_for_this_user_only(tmp_path: Path) -> None:
    places = make_places(tmp_path)
    first = settings.make_environment(places), settings.read_password(places.airflow_home)
    settings.prepare_airflow_home(places.airflow_home)
    assert (settings.make_environment(places), settings.read_password(places.airflow_home)) == first
    assert len(first[1]) >= 16
    assert len(first[0]["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64
    for name in ("jwt_secret", "api_secret_key", "passwords.json"):
        assert stat.S_IMODE((places.airflow_home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(places.airflow_home.stat().st_mode) == 0o700


def test_settings_of_another_airflow_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    environment = settings.make_environment(make_places(tmp_path))
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in environment
    assert "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS" not in environment


def test_every_address_is_loopback_and_nothing_reports_home(tmp_path: Path) -> None:
    environment = settings.make_environment(make_places(tmp_path))
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8091/execution/"
    assert environment["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] == "False"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_an_unreadable_password_file_is_made_anew(tmp_path: Path) -> None:
    places = make_places(tmp_path)
    (places.airflow_home / "passwords.json").write_text("")
    settings.prepare_airflow_home(places.airflow_home)
    assert settings.read_password(places.airflow_home)


def test_the_password_of_a_tracking_server_is_in_no_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:secret@db/mlflow")
    places = make_places(tmp_path)
    places.models.mkdir()
    assert "secret" in settings.make_environment(places)["MLFLOW_BACKEND_STORE_URI"]
    assert "secret" not in str(_make_commands(places, with_mlflow=True))
