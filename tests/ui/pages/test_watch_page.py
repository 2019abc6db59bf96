"""The page of what looks have found: what is drawn, in which order, and what it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.delivery.interventions import Intervention, intervene
from pipeline.delivery.releases import record
from pipeline.delivery.stages import assign
from pipeline.monitoring.history import KeptLook, keep_look
from pipeline.storage.artifacts import FolderStore
from pipeline.storage.git.repository import open_repository
from pipeline.ui.pages.archive import Archive
from pipeline.ui.pages.charts import histogram
from pipeline.ui.pages.fleet import fleet_page
from pipeline.ui.pages.rendering import render, render_alone
from pipeline.ui.pages.watch import MOST_FEATURES, budget_of, courses_of, features_of, health_of, watch_page
from tests.conftest import Commit
from tests.delivery.test_releases import evidence
from tests.monitoring.test_judging import REFERENCE, window

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC).timestamp()


def look(at: float, verdict: str = "quiet", value: float = 0.8, version: str = "1.0.0", failed: int = 0) -> KeptLook:
    quality = ({"metric": "auc", "estimated": True, "value": value, "low": value - 0.02, "high": value + 0.02},)
    lines = (f"m v{version} in local: {verdict}", "  '<b>x</b>' is missing in 60.0% of the rows")
    return KeptLook(AT + at, version, verdict, requests=1_000, rows=1_000, failed=failed, lines=lines, quality=quality)


def test_a_histogram_has_bars_then_and_steps_now_within_its_frame() -> None:
    drawn = histogram([0.5, 0.5, 0.0], [0.0, 0.25, 0.75], width=90, height=64)
    assert [bar[0] for bar in drawn.then] == [0.0, 30.0, 60.0]
    assert drawn.then[2][3] == 0.0
    points = [tuple(map(float, each.split(","))) for each in drawn.now.split()]
    assert len(points) == 6
    assert all(0 <= x <= 90 and 2 <= y <= 64 for x, y in points)
    assert points[-1][1] == 2.0  # the greatest share reaches the top
    assert histogram([], []).then == ()


def test_columns_are_shown_by_index_and_importance() -> None:
    indexes = {"x": 0.3, "word": 0.5, "at[hour]": 9.0, "(prediction)": 0.1, "gone": 5.0}
    drawn = features_of(REFERENCE, window(0), indexes, 0.2)
    assert [each.name for each in drawn] == ["at[hour]", "x", "word", "(prediction)"]
    assert len(drawn) <= MOST_FEATURES


@pytest.mark.parametrize(("failed", "spent"), [(0, 0.0), (1, 0.5), (4, 2.0)])
def test_the_error_budget_is_what_failed_beside_what_may(failed: int, spent: float) -> None:
    found = budget_of([look(0), look(60, failed=failed)], 0.999)
    assert found is not None
    assert (found.requests, found.failed, round(found.spent, 6)) == (2_000, failed, spent)
    assert budget_of([KeptLook(AT, "1.0.0", "quality")], 0.999) is None


def test_releases_and_what_was_done_are_marked_on_the_course() -> None:
    when = datetime.fromtimestamp(AT + 90, UTC)
    done = [Intervention("m", "local", 1, "rollback", "", "", "", date=when)]
    (course,) = courses_of([look(0), look(60, version="1.0.1"), look(120, version="1.0.0", value=0.7)], done)
    assert (course.metric, course.estimated) == ("auc", True)
    assert [each.measured.mark for each in course.drawn.dots] == ["", "v1.0.1", "v1.0.0, rollback"]


@pytest.fixture
def archive(project: Path, commit: Commit) -> Archive:
    head = commit({"models/m.yaml": "model: {name: m}\n", ".gitignore": ".modelrail/\n"})
    repository = open_repository(project)
    release, _ = record(repository, "m", evidence(spec_commit=head))
    assign(repository, release, "local", action="deploy", why="", push=False)
    return Archive(project / "models")


def see(archive: Archive) -> str:
    source = archive.sources.find("m")
    assert source is not None
    return render("watch.html", "/modelrail", shown=watch_page(archive, source))


def test_without_a_look_the_page_says_how_to_get_one(archive: Archive) -> None:
    assert "Nobody has looked at what is live yet" in see(archive)
    assert health_of(archive.view(archive.sources.all()[0]), "m", ["local"]) == []


def test_the_page_says_what_was_found_and_done(archive: Archive, project: Path) -> None:
    store, repository = FolderStore(project / ".modelrail/store"), open_repository(project)
    for each in (look(0), look(60, "drift", failed=1)):
        keep_look(store, "m", "local", each)
    release = archive.view(archive.sources.all()[0]).tags.releases("m")[0]
    intervene(repository, release, "local", "hold", why="'<i>x</i>' moved", push=False, who="Eve")
    text = see(archive)
    assert "&#39;&lt;b&gt;x&lt;/b&gt;&#39; is missing in 60.0% of the rows" in text
    assert "<b>x</b>" not in text
    assert '<span class="badge warn">drift</span>' in text
    assert "on hold" in text
    assert "m#local#watch#1) by Eve: &#39;&lt;i&gt;x&lt;/i&gt;&#39; moved" in text
    assert "1 of 2,000 requests failed" in text
    assert "by its scores: an estimate" in text
    assert ">hold</text>" not in text  # it was done after the last look
    source = archive.sources.find("m")
    assert source is not None
    alone = render_alone("watch.html", shown=watch_page(archive, source))
    assert "&#39;&lt;b&gt;x&lt;/b&gt;&#39; is missing in 60.0% of the rows" in alone
    assert not re.search(r"\b(href|src)=|@import|url\(|<script", alone)  # it needs nothing else
    rows = fleet_page(archive, lambda _: True, lambda _: {}).rows
    assert [(name, health.word) for name, health in rows[0].watched] == [("local", "drift")]
    page = render("models.html", "/modelrail", shown=fleet_page(archive, lambda _: True, lambda _: {}))
    assert 'href="/modelrail/watch/m"' in page
