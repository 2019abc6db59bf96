"""Pages in Airflow's UI: all models, one model and how it does (tabs of its DAG), one run (its tab). The wiring.

What they show is made in ``pipeline.ui.pages``. Here are the addresses, who may see and do what (as Airflow's auth
manager says), and what Airflow knows of the runs. Every Airflow process loads this file, so the application behind the
addresses is made at its first request, in the API server alone.
"""

import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

MODELS = Path(os.environ.get("MODELRAIL_MODELS") or Path(__file__).resolve().parents[1] / "models")
PREFIX = "/modelrail"
BASE = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/") + PREFIX
RECENT, REPLAYED = 5, 300
"""Runs that the page of a model looks at: the latest, and those of backfills."""
MOST_FORM_BYTES = 20_000

Message = MutableMapping[str, Any]


class Pages:
    """The application, made at its first request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._app: Any = None

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer a request, with the headers that every answer has."""
        from starlette.concurrency import run_in_threadpool

        from pipeline.ui.pages.security import HEADERS

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message.get("headers", ())}
                more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *(each for each in more if each[0] not in given)]
            await send(message)

        app = self._app or await run_in_threadpool(self._make)
        await app(scope, receive, send_guarded)

    def _make(self) -> Any:
        with self._lock:
            if self._app is None:
                self._app = make_app()
            return self._app


def make_app() -> Any:  # noqa: C901 - a list of addresses
    """Wire the addresses; everything below asks who is there, and most whether they may read that DAG."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
    from airflow.api_fastapi.core_api.security import get_user, requires_access_dag, requires_access_view
    from airflow.models.dag import DagModel
    from fastapi import Depends, FastAPI, HTTPException, Request
    from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
    from starlette.concurrency import run_in_threadpool

    from pipeline.errors import InputError, ModelrailError
    from pipeline.ui.pages.archive import Archive
    from pipeline.ui.pages.evaluations import plot_file
    from pipeline.ui.pages.fleet import fleet_page
    from pipeline.ui.pages.model import model_page
    from pipeline.ui.pages.promoting import change, change_page
    from pipeline.ui.pages.rendering import STATIC, render, static_file
    from pipeline.ui.pages.run import run_page
    from pipeline.ui.pages.security import check_token, is_same_origin, make_token
    from pipeline.ui.pages.specs import Source
    from pipeline.ui.pages.watch import watch_page

    archive = Archive(MODELS)
    secret = conf.get_mandatory_value("api", "secret_key")
    app = FastAPI(
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    may_read = Depends(requires_access_dag("GET"))
    may_read_runs = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
    may_edit = Depends(requires_access_dag("PUT"))
    forever = {"Cache-Control": "private, max-age=31536000, immutable"}

    def page(request: Request, template: str, status: int = 200, **shown: Any) -> Response:
        return HTMLResponse(render(template, request.scope["root_path"], **shown), status)

    def message(request: Request, status: int, head: str, *lines: str) -> Response:
        return page(request, "message.html", status, head=head, lines=lines)

    def source_of(dag_id: str) -> Source:
        source = archive.sources.find(dag_id)
        if source is None:
            raise HTTPException(404, f"The DAG {dag_id} is no model of Modelrail.")
        return source

    def may(method: Any, dag_id: str, user: Any) -> bool:
        details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
        return get_auth_manager().is_authorized_dag(method=method, details=details, user=user)

    async def genuine_form(request: Request, dag_id: str, user: Any = Depends(get_user)) -> dict[str, str]:  # noqa: B008
        own = frozenset({request.url.netloc, urlsplit(conf.get("api", "base_url", fallback="") or "").netloc} - {""})
        if not is_same_origin(request.headers, own):
            raise HTTPException(403, "This request did not come from a page of this Airflow; nothing was changed.")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_FORM_BYTES:
                raise HTTPException(413, "The form is too large; nothing was changed.")
        form = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=20, keep_blank_values=True))
        if not check_token(form.get("token", ""), secret, str(user.get_id()), dag_id, time.time()):
            raise HTTPException(403, "This form is too old, or another user's; nothing was changed. Open it anew.")
        return form

    @app.exception_handler(HTTPException)
    async def explain(request: Request, error: HTTPException) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "")
        if error.status_code == 401 and wants_page and request.method == "GET":
            return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)), 303)
        heads = {401: "Not logged in", 403: "Not allowed", 404: "Not found"}
        head = heads.get(error.status_code, "That did not work")
        detail = "" if error.detail in ("Forbidden", "Not Found") else str(error.detail)
        return await run_in_threadpool(message, request, error.status_code, head, *filter(None, (detail,)))

    @app.exception_handler(ModelrailError)
    async def tell(request: Request, error: ModelrailError) -> Response:
        status = 400 if isinstance(error, InputError) else 500
        return await run_in_threadpool(message, request, status, "That did not work", *str(error).splitlines())

    @app.get("/")
    def home(request: Request) -> Response:
        return RedirectResponse(f"{request.scope['root_path']}/models", 303)

    @app.get("/models")
    def models(request: Request, q: str = "", user: Any = Depends(get_user)) -> Response:  # noqa: B008
        number = read_number(request.query_params.get("page"))
        shown = fleet_page(archive, lambda name: may("GET", name, user), last_runs, query=q[:80], page=number)
        return page(request, "models.html", shown=shown)

    @app.get("/models/{dag_id}", dependencies=[may_read, may_read_runs])
    def model(request: Request, dag_id: str, release: str = "", user: Any = Depends(get_user)) -> Response:  # noqa: B008
        number = read_number(request.query_params.get("page"))
        shown = model_page(archive, source_of(dag_id), read_runs(dag_id), version=release, page=number)
        return page(request, "model.html", shown=shown, may_change=may("PUT", dag_id, user))

    @app.get("/models/{dag_id}/change", dependencies=[may_read, may_edit])
    def ask(request: Request, dag_id: str, user: Any = Depends(get_user)) -> Response:  # noqa: B008
        return form_page(request, dag_id, user, request.query_params)

    def form_page(
        request: Request, dag_id: str, user: Any, asked: Mapping[str, str], trouble: str = "", status: int = 200
    ) -> Response:
        token = make_token(secret, str(user.get_id()), dag_id, time.time())
        shown = change_page(archive, source_of(dag_id), asked)
        why, name = asked.get("why", ""), user.get_name()
        return page(request, "change.html", status, shown=shown, token=token, user=name, why=why, trouble=trouble)

    @app.post("/models/{dag_id}/change", dependencies=[may_read, may_edit])
    def do(
        request: Request,
        dag_id: str,
        form: dict[str, str] = Depends(genuine_form),  # noqa: B008
        user: Any = Depends(get_user),  # noqa: B008
    ) -> Response:
        try:
            change(archive, source_of(dag_id), form, who=f"{user.get_name()} (Airflow)")
        except ModelrailError as error:
            return form_page(request, dag_id, user, form, str(error), 400 if isinstance(error, InputError) else 500)
        return RedirectResponse(f"{request.scope['root_path']}/models/{dag_id}", 303)

    @app.get("/runs/{dag_id}/{run_id:path}", dependencies=[may_read, may_read_runs])
    def run(request: Request, dag_id: str, run_id: str) -> Response:
        source, facts = source_of(dag_id), read_run(dag_id, run_id)
        if facts is None:
            raise HTTPException(404, f"{dag_id} has no run {run_id}.")
        return page(request, "run.html", shown=run_page(archive, source, facts))

    @app.get("/watch/{dag_id}", dependencies=[may_read])
    def watch(request: Request, dag_id: str) -> Response:
        return page(request, "watch.html", shown=watch_page(archive, source_of(dag_id)))

    @app.get("/plots/{dag_id}/{key}/{name}", dependencies=[may_read])
    def plot(dag_id: str, key: str, name: str) -> Response:
        source = source_of(dag_id)
        artifact = archive.view(source).find(key) if key.isalnum() else None
        ours = artifact is not None and artifact.manifest.get("model") == source.name
        file = plot_file(artifact, name) if ours else None
        if file is None:
            raise HTTPException(404, f"{dag_id} has no plot '{name}' there.")
        return FileResponse(file, media_type="image/png", headers=forever)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404)
        return Response(static_file(name), media_type=STATIC[name], headers=forever)

    return app


def read_number(text: str | None) -> int:
    """Read the number of a page; 1 where it is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else 1


def last_runs(dag_ids: Sequence[str]) -> dict[str, Any]:
    """Return each DAG's last run."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    newest = (
        select(func.max(DagRun.id))
        .where(DagRun.dag_id.in_(dag_ids), DagRun.run_type != "backfill")
        .group_by(DagRun.dag_id)
    )
    with create_session(scoped=False) as session:
        runs = session.scalars(select(DagRun).where(DagRun.id.in_(newest))).all()
        values = read_values(session, [each.id for each in runs], ("release",))
        return {each.dag_id: facts_of(each, values.get(each.id, {})) for each in runs}


def read_runs(dag_id: str) -> list[Any]:
    """Return a DAG's latest runs and its backfilled ones, newest first."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    mine = select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc())
    with create_session(scoped=False) as session:
        recent = session.scalars(mine.where(DagRun.run_type != "backfill").limit(RECENT)).all()
        replayed = session.scalars(mine.where(DagRun.run_type == "backfill").limit(REPLAYED)).all()
        runs = sorted({*recent, *replayed}, key=lambda each: each.id, reverse=True)
        values = read_values(session, [each.id for each in runs], ("plan", "evaluate", "release"))
        return [facts_of(each, values.get(each.id, {})) for each in runs]


def read_run(dag_id: str, run_id: str) -> Any:
    """Return one run with its tasks; None if there is none."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from pipeline.ui.pages.runs import TaskFacts

    with create_session(scoped=False) as session:
        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if run is None:
            return None
        tasks = session.execute(
            select(TaskInstance.task_id, TaskInstance.state, TaskInstance.start_date, TaskInstance.end_date).where(
                TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
            )
        )
        told = [TaskFacts(task, state, start, end) for task, state, start, end in tasks]
        return facts_of(run, read_values(session, [run.id]).get(run.id, {}), told)


def read_values(
    session: Any, runs: Sequence[int], tasks: Sequence[str] | None = None
) -> dict[int, dict[str, list[Any]]]:
    """Return run → task (or ``opened``, what the plan told the others) → what its instances returned."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    wanted = select(XComModel.dag_run_id, XComModel.task_id, XComModel.key, XComModel.value).where(
        XComModel.dag_run_id.in_(runs), XComModel.key.in_(("opened", "return_value"))
    )
    if tasks is not None:
        wanted = wanted.where(XComModel.task_id.in_(tasks))
    found: dict[int, dict[str, list[Any]]] = {}
    for row in session.execute(wanted.order_by(XComModel.map_index)):
        name = "opened" if row.key == "opened" else row.task_id
        found.setdefault(row.dag_run_id, {}).setdefault(name, []).append(XComModel.deserialize_value(row))
    return found


def facts_of(run: Any, values: Mapping[str, Sequence[Any]], tasks: Sequence[Any] = ()) -> Any:
    """Turn Airflow's row into what the pages know."""
    from pipeline.ui.pages.runs import RunFacts

    results = {task: [each for each in found if isinstance(each, dict)] for task, found in values.items()}
    opened = (results.pop("opened", None) or [{}])[0]
    return RunFacts(
        model=run.dag_id,
        id=run.run_id,
        state=str(run.state),
        kind=str(run.run_type),
        start=run.start_date,
        end=run.end_date,
        logical_date=run.logical_date,
        opened=opened,
        results=results,
        tasks=tasks,
    )


class ModelrailPages(AirflowPlugin):
    """The pages, and where Airflow's UI shows them."""

    name = "modelrail_pages"
    fastapi_apps: ClassVar = [{"app": Pages(), "url_prefix": PREFIX, "name": "Modelrail"}]
    external_views: ClassVar = [
        {
            "name": name,
            "href": f"{BASE}{path}",
            "destination": destination,
            "url_route": route,
            "icon": f"{BASE}/static/icon.svg",
            "icon_dark_mode": f"{BASE}/static/icon-dark.svg",
        }
        for name, path, destination, route in (
            ("Models", "/models", "nav", "models"),
            ("Model", "/models/{DAG_ID}", "dag", "model"),
            ("Watch", "/watch/{DAG_ID}", "dag", "watch"),
            ("Model run", "/runs/{DAG_ID}/{RUN_ID}", "dag_run", "model-run"),
        )
    ]
