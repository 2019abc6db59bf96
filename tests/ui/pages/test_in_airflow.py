"""The pages behind Airflow's own login, asked by people of several roles, and driven in a browser by its keyboard."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from pipeline.delivery.platforms.local.deployments import live, stop_all
from pipeline.delivery.promotion import find_slot
from pipeline.home import CHECKOUT
from pipeline.monitoring.watching import look
from pipeline.orchestration.services import settings
from pipeline.orchestration.services.ports import choose_port
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from pipeline.storage.git.repository import open_repository
from tests.databases import Databases

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.filterwarnings("default")]
SPEC = """\
model: {name: quality, trainer: ridge, task: regression, target: y, description: "<b>Bold</b> & long"}
data: {files: "data/{year}.csv"}
deploy: {port: 0}
"""
PAGE, CHANGE = "/modelrail/models/quality", "/modelrail/models/quality/change"
ASKED = {"action": "rollback", "environment": "local", "version": "v1.0.0"}


@dataclass(frozen=True)
class Server:
    url: str
    project: Path

    def ask(self, user: str = "") -> httpx.Client:
        if not user:
            return httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        login = {"username": user, "password": user}
        token = httpx.post(f"{self.url}/auth/token", json=login, timeout=60, trust_env=False).json()["access_token"]
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, cookies={"_token": token})


def commit(project: Path, name: str, text: str) -> None:
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(text)
    git = ["git", "-C", str(project), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", f"Add {name}"], check=True)


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    project = tmp_path_factory.mktemp("project")
    databases.copy_mlflow(project / ".modelrail/mlflow.db")
    databases.copy_airflow(project / ".modelrail")
    subprocess.run(["git", "init", "-q", "-b", "main", str(project)], check=True)
    commit(project, ".gitignore", ".modelrail/\n")
    commit(project, "models/quality.yaml", SPEC)
    (project / "models" / "broken.yaml").write_text("model: {name: broken, trainerr: ridge}\n")
    for year in (2020, 2021):
        rows = "".join(f"{row},{row % 7},{row * 2 + row % 7 + year % 3}\n" for row in range(120))
        commit(project, f"data/{year}.csv", f"a,b,y\n{rows}")
        run(RunRequest(str(project / "models" / "quality.yaml"), reason=f"data of {year}"), lambda _: None)
    state = project / ".modelrail"
    port = choose_port(8401)
    places = settings.Places(state, CHECKOUT, project / "models", port, port + 1)
    settings.prepare_airflow_home(places.airflow_home)
    users = {"ann": "admin", "oto": "op", "uma": "user", "vic": "viewer"}
    (places.airflow_home / "passwords.json").write_text(json.dumps({name: name for name in users}))
    named = ",".join(f"{name}:{role}" for name, role in users.items())
    environment = settings.make_environment(places) | {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": named}
    airflow = [sys.executable, "-m", "airflow"]
    subprocess.run([*airflow, "dags", "reserialize"], env=environment, check=True, capture_output=True)
    process = subprocess.Popen(
        [*airflow, "api-server"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(f"{places.airflow_url}/api/v2/monitor/health")
        yield Server(places.airflow_url, project)
    finally:
        stop_all(state)
        process.terminate()
        process.wait(120)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            httpx.get(url, timeout=30, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(url)


def token_in(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found, page
    return found[1]


PATHS = ("/models", "/models/quality", "/models/quality/change", "/watch/quality", "/runs/quality/x",
         "/plots/quality/x/y", "/static/pages.css", "/")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_open_to_strangers(server: Server, path: str) -> None:
    with server.ask() as stranger:
        assert stranger.get(f"/modelrail{path}").status_code == 401
        answer = stranger.get(f"/modelrail{path}", headers={"accept": "text/html"})
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/auth/login?")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc"])
def test_the_sub_application_describes_itself_to_nobody(server: Server, path: str) -> None:
    with server.ask("ann") as admin:
        assert admin.get(f"/modelrail{path}").status_code == 404


def test_a_viewer_sees_everything_and_may_change_nothing(server: Server) -> None:
    with server.ask("vic") as viewer:
        assert "quality" in viewer.get("/modelrail/models").text
        page = viewer.get(PAGE).text
        assert "v1.0.0" in page
        assert "Roll back local" not in page
        assert viewer.get(CHANGE, params=ASKED).status_code == 403
        headers = {"origin": server.url}
        assert viewer.post(CHANGE, data=ASKED | {"why": "x"}, headers=headers).status_code == 403


READ = ("/models", "/models/quality", "/models?q=x", "/models/quality?release=v1.0.0", "/watch/quality",
        "/static/pages.css")  # fmt: skip
ABSENT = ("/models/nobody", "/watch/nobody", "/runs/quality/never", "/runs/nobody/never", "/plots/quality/x/y",
          "/plots/nobody/x/y", "/static/pages.py")  # fmt: skip


@pytest.mark.parametrize(
    ("user", "read", "absent", "edit", "post"),
    [
        ("ann", 200, {404}, 200, 403),  # a form without the token of its page
        ("oto", 200, {404}, 200, 403),
        ("uma", 200, {404}, 200, 403),
        ("vic", 200, {404}, 403, 403),
        ("", 401, {401}, 401, 401),
    ],
)
def test_each_address_answers_each_role_as_its_rights_are(
    server: Server, user: str, read: int, absent: set[int], edit: int, post: int
) -> None:
    with server.ask(user) as person:
        assert {path: person.get(f"/modelrail{path}").status_code for path in READ} == dict.fromkeys(READ, read)
        assert {person.get(f"/modelrail{path}").status_code for path in ABSENT} == absent
        assert person.get("/modelrail/").status_code == (401 if not user else 303)
        assert person.get(CHANGE, params=ASKED).status_code == edit
        answer = person.post(CHANGE, data=ASKED | {"why": "x"}, headers={"origin": server.url})
        assert answer.status_code == post


def test_what_a_spec_says_is_shown_and_not_obeyed(server: Server) -> None:
    with server.ask("vic") as viewer:
        answer = viewer.get(PAGE)
    assert "&lt;b&gt;Bold&lt;/b&gt; &amp; long" in answer.text
    assert "<b>Bold" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe-inline" not in answer.headers["content-security-policy"]


def test_a_broken_spec_says_where_and_hides_no_other(server: Server) -> None:
    with server.ask("vic") as viewer:
        assert "broken spec" in viewer.get("/modelrail/models").text
        assert "trainerr" in viewer.get("/modelrail/models/broken").text
        assert viewer.get("/modelrail/models/nobody").status_code == 404
        assert viewer.get("/modelrail/runs/quality/never").status_code == 404


def test_a_run_is_shown_to_a_viewer_and_to_no_stranger(server: Server) -> None:
    with server.ask("ann") as admin, server.ask("vic") as viewer, server.ask() as stranger:
        page = f"/modelrail/runs/quality/{start_run(admin)}"
        shown = viewer.get(page)
        assert (shown.status_code, stranger.get(page).status_code) == (200, 401)
    assert re.search(r">evaluate</th>", shown.text)


def start_run(admin: httpx.Client) -> str:
    """Ask for a run; without a scheduler it stays queued."""
    answer = admin.post("/api/v2/dags/quality/dagRuns", json={"logical_date": None})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["dag_run_id"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_narrow_screen_a_table_scrolls_and_the_page_does_not(server: Server, scheme: str) -> None:
    from playwright.sync_api import sync_playwright

    with server.ask("ann") as admin, sync_playwright() as player:
        look_at(server.project)
        paths = ("/modelrail/models", PAGE, "/modelrail/watch/quality", f"/modelrail/runs/quality/{start_run(admin)}")
        browser = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        context = browser.new_context(color_scheme=scheme, viewport={"width": 420, "height": 900})
        context.add_cookies([{"name": "_token", "value": admin.cookies["_token"], "url": server.url}])
        page = context.new_page()
        widths = {}
        for path in paths:
            page.goto(f"{server.url}{path}")
            widths[path] = page.evaluate("document.documentElement.scrollWidth")
        page.goto(f"{server.url}/modelrail/watch/quality")
        multiples = page.locator(".multiples figure").count()
        browser.close()
    assert widths == dict.fromkeys(paths, 420)
    assert multiples == 3  # both columns, and what is predicted


def look_at(project: Path) -> None:
    """Ask what is live, and look at it."""
    spec = project / "models" / "quality.yaml"
    slot = find_slot(open_repository(project), "quality", "local", {"quality": spec})
    found = live("quality", project / ".modelrail")
    assert found is not None
    for row in range(60):
        asked = {"inputs": [{"a": row, "b": row % 7}]}
        answer = httpx.post(f"{found.address}/api/predict", json=asked, trust_env=False)
        assert answer.status_code == 200
    target = slot.target
    few = target.spec.monitoring.model_copy(update={"min_requests": 50})
    few_asked = replace(target, spec=target.spec.model_copy(update={"monitoring": few}))
    assert look(replace(slot, target=few_asked)).judged.verdict in ("quiet", "drift", "quality")


def test_forged_requests_are_refused_and_change_nothing(server: Server) -> None:
    with server.ask("uma") as user, server.ask("ann") as admin:
        mine, hers = (token_in(each.get(CHANGE, params=ASKED).text) for each in (user, admin))
        form = ASKED | {"why": "forged", "before": "v1.0.1"}
        before = tags(server)
        for token, headers in (
            (mine, {}),
            (mine, {"origin": "http://evil.example"}),
            (mine, {"origin": server.url, "sec-fetch-site": "cross-site"}),
            ("", {"origin": server.url}),
            (hers, {"origin": server.url}),
            (mine[:-1] + "0" if mine[-1] != "0" else mine[:-1] + "1", {"origin": server.url}),
        ):
            answer = user.post(CHANGE, data=form | {"token": token}, headers=headers)
            assert answer.status_code == 403, (token, headers)
    assert tags(server) == before


def test_a_reason_is_asked_for_and_a_change_in_the_meantime_is_noticed(server: Server) -> None:
    with server.ask("uma") as user:
        token = token_in(user.get(CHANGE, params=ASKED).text)
        headers = {"origin": server.url}
        none = user.post(CHANGE, data=ASKED | {"token": token, "why": " ", "before": "v1.0.1"}, headers=headers)
        late = user.post(CHANGE, data=ASKED | {"token": token, "why": "y", "before": "v0.9.0"}, headers=headers)
        odd = user.get(CHANGE, params=ASKED | {"version": "v9.9.9"})
    assert (none.status_code, late.status_code, odd.status_code) == (400, 400, 400)
    assert "found no reason" in none.text
    assert "by now" in late.text


def test_by_keyboard_alone_a_user_rolls_back_with_a_reason(server: Server) -> None:
    from playwright.sync_api import sync_playwright

    with server.ask("uma") as user, sync_playwright() as player:
        browser = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        context = browser.new_context(color_scheme="dark")
        context.add_cookies([{"name": "_token", "value": user.cookies["_token"], "url": server.url}])
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(f"{server.url}{PAGE}")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.evaluate("localStorage.setItem('theme', 'light'); followTheme()")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark, light) == ("rgb(11, 12, 14)", "rgb(255, 255, 255)")
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText") == "Roll back local":
                break
        page.keyboard.press("Enter")
        page.wait_for_url("**/change?**")
        page.keyboard.type("It answered <oddly>")  # the reason has the focus
        page.keyboard.press("Tab")
        with page.expect_navigation(url=f"**{PAGE}", timeout=60_000):
            page.keyboard.press("Enter")
        text = page.inner_text("main")
        assert "rolled back" in text
        assert "It answered <oddly>" in text
        assert "uma (Airflow)" in text
        assert complaints == []
        browser.close()
    assert "quality#local#3" in tags(server)


def tags(server: Server) -> list[str]:
    return subprocess.run(
        ["git", "-C", str(server.project), "tag"], check=True, capture_output=True, text=True
    ).stdout.split()
