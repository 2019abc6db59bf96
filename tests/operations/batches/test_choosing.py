"""Which release scores a batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.delivery.releases import record
from pipeline.delivery.stages import assign
from pipeline.errors import InputError
from pipeline.model.signature import Input, Signature
from pipeline.operations.batches.choosing import choose_release, rules_for_batch
from pipeline.spec.schema.spec import Data
from pipeline.storage.git.repository import Repository, open_repository
from tests.conftest import Commit
from tests.delivery.test_releases import evidence


@pytest.fixture
def repository(project: Path, commit: Commit) -> Repository:
    """Return a repository with three releases of m."""
    (project / "environments").mkdir(exist_ok=True)
    (project / "environments" / "prod.yaml").write_text("deploy: {port: 0}\n")
    head = commit()
    found = open_repository(project)
    for name in "abc":
        record(found, "m", evidence(spec_commit=head, model_digest=name))
    return found


def choose(repository: Repository, reference: str, environment: str | None = None) -> tuple[str, str]:
    chosen = choose_release(repository, reference, environment)
    return chosen.release.tag, chosen.why


def test_without_a_live_release_the_newest_one_answers(repository: Repository) -> None:
    assert choose(repository, "m") == ("m@v1.0.2", "the newest release, since none is live")
    assert choose(repository, "m", "prod") == ("m@v1.0.2", "the newest release, since none is live in 'prod'")


def test_the_live_release_of_the_environment_answers(repository: Repository) -> None:
    for version, environment in [("1.0.0", "local"), ("1.0.1", "prod")]:
        release = choose_release(repository, f"m@v{version}", None).release
        assign(repository, release, environment, action="deploy", why="", push=False)
    assert choose(repository, "m") == ("m@v1.0.0", "live in 'local'")
    assert choose(repository, "m", "prod") == ("m@v1.0.1", "live in 'prod'")
    assert choose(repository, "m@1.0.2", "prod") == ("m@v1.0.2", "the one asked for")


@pytest.mark.parametrize(
    ("reference", "environment", "message"),
    [
        ("m", "pord", "environment: found 'pord'; expected .*prod"),
        ("m@v9.0.0", None, "found no release m@v9.0.0; expected one of v1.0.2"),
        ("n", None, "found no release of 'n'"),
    ],
)
def test_what_is_not_there_is_named(
    repository: Repository, reference: str, environment: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        choose(repository, reference, environment)


def test_a_batch_has_the_rules_of_training_data_for_what_the_model_reads() -> None:
    data = Data.model_validate(
        {
            "columns": {"x": {"type": "int", "range": [0, 9]}, "y": "float"},
            "encoding": "gbk",
            "format": "csv",
            "extra_columns": "error",
            "images": "photos",
        }
    )
    signature = Signature("regression", (Input("x", "int"), Input("t", "datetime", nullable=False, format="%Y")))
    found = rules_for_batch(data, signature, Path("a.jsonl.gz"))
    assert (found.encoding, found.format, found.extra_columns, found.images) == ("gbk", None, "ignore", None)
    assert {name: (each.type, each.range, each.nullable, each.format) for name, each in found.columns.items()} == {
        "x": ("int", (0, 9), True, None),
        "t": ("datetime", None, False, "%Y"),
    }
    assert rules_for_batch(data, signature, Path("a.dat")).format == "csv"
