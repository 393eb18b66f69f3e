"""The page for people: routes to templates; every answer needs a login but the login itself."""

from __future__ import annotations

import hmac
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from edge.fleet import schema
from edge.fleet.alerts import KINDS
from edge.fleet.database import Database
from edge.fleet.drift_watch import forget_reference
from edge.fleet.figures import Figures
from edge.fleet.intake import REASONS
from edge.fleet.pictures import NO_CLASS, Shelf
from edge.fleet.queries import PAGE, SORTS, Queries, Wish
from edge.fleet.security import Guard, client_address
from edge.fleet.settings import is_loopback
from edge.fleet.users import TooManyTries, Users, Visitor
from edge.fleet.views import FILTERS, DriftTold, bin_charts

HERE = Path(__file__).parent
STATES = ("", "wrong", "ready", "degraded", "lost", "stopped", "init", "throttled", "retired")
Show = Callable[[Request, Visitor], Response]
Change = Callable[[Request, Visitor, FormData], Response]


@dataclass(frozen=True, slots=True)
class Access:
    """How the page is reached."""

    https: bool  # cookies go over TLS alone
    metrics_token: str
    behind_proxy: bool


class Page:
    """Holds the parts; `app` is what uvicorn serves."""

    def __init__(
        self,
        *,
        database: Database,
        users: Users,
        shelf: Shelf,
        figures: Figures,
        access: Access,
        trouble: Callable[[], list[str]],
        drift: DriftTold,
    ) -> None:
        self._database = database
        self._queries = Queries(database)
        self._users = users
        self._shelf = shelf
        self._figures = figures
        self._access = access
        self._trouble = trouble
        self._drift = drift
        self._cookie = "__Host-smartbin" if access.https else "smartbin"
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True
        )
        self._templates.filters.update(FILTERS)

    def app(self) -> Starlette:
        """The ASGI application."""
        show, change = self._shown, self._changed
        routes = [
            Route("/login", self._login_page),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", change(self._logout, viewer=True), methods=["POST"]),
            Route("/", show(self._fleet)),
            Route("/bins/{site}/{name}", show(self._bin)),
            Route("/bins/{site}/{name}/retire", change(self._retire), methods=["POST"]),
            Route("/bins/{site}/{name}/anew", change(self._anew), methods=["POST"]),
            Route("/alerts", show(self._alerts)),
            Route("/alerts/{number:int}/seen", change(self._seen), methods=["POST"]),
            Route("/gallery", show(self._gallery)),
            Route("/gallery/labels.csv", show(self._csv)),
            Route("/gallery/labels.zip", show(self._zip)),
            Route("/gallery/{number:int}.jpg", show(self._picture)),
            Route("/gallery/{number:int}/label", change(self._label), methods=["POST"]),
            Route("/input", show(self._input)),
            Route("/metrics", self._metrics),
            Route("/healthz", self._healthz),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ]
        guard = Middleware(Guard, figures=self._figures, https=self._access.https)
        return Starlette(
            routes=routes,
            middleware=[guard],
            exception_handlers={HTTPException: self._fault, sa.exc.SQLAlchemyError: self._away},
        )

    # Who asks

    async def _visitor(self, request: Request) -> Visitor | None:
        token = request.cookies.get(self._cookie, "")
        return await run_in_threadpool(self._users.visitor, token) if token else None

    def _shown(self, show: Show) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            visitor = await self._visitor(request)
            if visitor is None:
                back = quote(request.url.path, safe="/")
                return RedirectResponse(f"/login?next={back}", 303)
            return await run_in_threadpool(show, request, visitor)

        return endpoint

    def _changed(
        self, change: Change, *, viewer: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            visitor = await self._visitor(request)
            if visitor is None:
                return RedirectResponse("/login", 303)
            form = await request.form(max_files=0)
            if not hmac.compare_digest(str(form.get("csrf", "")).encode(), visitor.csrf.encode()):
                raise HTTPException(403, "this form is too old; open the page again")
            if not (viewer or visitor.may_change):
                raise HTTPException(403, "you may look, but not change; ask an operator")
            return await run_in_threadpool(change, request, visitor, form)

        return endpoint

    def _render(self, name: str, visitor: Visitor | None, **values: Any) -> HTMLResponse:
        status = values.pop("status", 200)
        text = self._templates.get_template(name).render(
            visitor=visitor, now=time.time(), kinds=KINDS, troubles=self._trouble(), **values
        )
        return HTMLResponse(text, status)

    def _fault(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        page = self._render(
            "fault.html", None, status=error.status_code, title="Not here", detail=error.detail
        )
        return page

    def _away(self, request: Request, error: Exception) -> Response:
        detail = "The database does not answer. What comes meanwhile waits at the broker."
        return self._render("fault.html", None, status=503, title="No database", detail=detail)

    # In and out

    async def _login_page(self, request: Request) -> Response:
        nobody = not await run_in_threadpool(self._users.all)
        next_ = _safe_path(request.query_params.get("next", "/"))
        return self._render("login.html", None, nobody=nobody, next=next_, fault="")

    async def _login(self, request: Request) -> Response:
        form = await request.form(max_files=0)
        name, password = str(form.get("name", "")), str(form.get("password", ""))
        next_ = _safe_path(str(form.get("next", "/")))
        address = client_address(request)
        try:
            token = await run_in_threadpool(self._users.log_in, name, password, address=address)
        except TooManyTries as error:
            fault = f"Too many wrong tries. Wait {error.wait_s / 60:.0f} minutes."
            return self._render(
                "login.html", None, status=429, nobody=False, next=next_, fault=fault
            )
        if token is None:
            fault = "Name or password are wrong."
            return self._render(
                "login.html", None, status=401, nobody=False, next=next_, fault=fault
            )
        response = RedirectResponse(next_, 303)
        https = self._access.https
        response.set_cookie(
            self._cookie, token, httponly=True, samesite="strict", secure=https, path="/"
        )
        return response

    def _logout(self, request: Request, visitor: Visitor, form: FormData) -> Response:
        self._users.log_out(request.cookies.get(self._cookie, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(self._cookie, path="/", secure=self._access.https)
        return response

    # Looking

    def _fleet(self, request: Request, visitor: Visitor) -> Response:
        ask = request.query_params
        wish = Wish(
            search=ask.get("q", "")[:100],
            state=ask["state"] if ask.get("state") in STATES else "",
            sort=ask["sort"] if ask.get("sort") in SORTS else "state",
            down=ask.get("down") == "1",
            page=_page(ask.get("page")),
        )
        bins, n = self._queries.bins(wish)
        states, alerts = self._queries.states(), self._queries.alert_counts()
        return self._render(
            "fleet.html",
            visitor,
            bins=bins,
            n=n,
            wish=wish,
            pages=-(-n // PAGE),
            states=states,
            all_states=STATES,
            total=sum(states.values()),
            alerts=alerts,
        )

    def _bin(self, request: Request, visitor: Visitor) -> Response:
        row = self._row(request)
        hours = {"24": 24, "168": 168}.get(request.query_params.get("hours", ""), 24)
        id_ = row["id"]
        return self._render(
            "bin.html",
            visitor,
            bin=row,
            hours=hours,
            charts=bin_charts(
                self._queries, row, hours=hours, now_ts=time.time(), drift=self._drift
            ),
            decisions=self._queries.decisions(id_),
            states=self._queries.states_of(id_),
            records=self._queries.records(id_),
            alerts=self._queries.alerts(id_=id_),
            gaps=self._queries.gaps(id_),
        )

    def _row(self, request: Request) -> Any:
        names = request.path_params
        row = self._queries.bin(names["site"], names["name"])
        if row is None:
            raise HTTPException(404, "There is no bin of this name.")
        return row

    def _alerts(self, request: Request, visitor: Visitor) -> Response:
        ask = request.query_params
        kind, page = ask.get("kind", ""), _page(ask.get("page"))
        kind = kind if kind in KINDS else ""
        counts = self._queries.alert_counts()
        alerts = self._queries.alerts(kind=kind, page=page)
        n = counts.get(kind, 0) if kind else sum(counts.values())
        return self._render(
            "alerts.html",
            visitor,
            alerts=alerts,
            counts=counts,
            kind=kind,
            page=page,
            pages=-(-n // PAGE),
        )

    def _gallery(self, request: Request, visitor: Visitor) -> Response:
        ask = request.query_params
        done, page = ask.get("done") == "1", _page(ask.get("page"))
        pictures, n = self._queries.pictures(done=done, page=page)
        _, labelled = self._queries.pictures(done=True, limit=1)
        return self._render(
            "gallery.html",
            visitor,
            pictures=pictures,
            n=n,
            labelled=labelled,
            done=done,
            page=page,
            pages=-(-n // 24),
            keep=self._shelf.keep,
            no_class=NO_CLASS,
        )

    def _picture(self, request: Request, visitor: Visitor) -> Response:
        row = self._queries.picture(request.path_params["number"])
        path = self._shelf.path(row["sha256"]) if row else None
        if path is None or not path.is_file():
            raise HTTPException(404, "This picture is not there any more.")
        headers = {"cache-control": "private, max-age=86400"}
        return FileResponse(path, media_type="image/jpeg", headers=headers)

    def _csv(self, request: Request, visitor: Visitor) -> Response:
        headers = {"content-disposition": "attachment; filename=labels.csv"}
        return Response(self._shelf.as_csv(), media_type="text/csv", headers=headers)

    def _zip(self, request: Request, visitor: Visitor) -> Response:
        with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as out:
            self._shelf.as_zip(out)  # type: ignore[arg-type]
        return _Fleeting(out.name, media_type="application/zip", filename="labels.zip")

    def _input(self, request: Request, visitor: Visitor) -> Response:
        rejects = self._queries.rejects()
        return self._render("input.html", visitor, rejects=rejects, reasons=REASONS)

    # Changing

    def _label(self, request: Request, visitor: Visitor, form: FormData) -> Response:
        number, label = request.path_params["number"], str(form.get("label", ""))
        row = self._queries.picture(number)
        if row is None:
            raise HTTPException(404, "This picture is not there any more.")
        if label != NO_CLASS and label not in json.loads(row["labels"]):
            raise HTTPException(400, "This bin's model knows no such class.")
        self._shelf.label(number, label, by=visitor.name)
        return RedirectResponse(_safe_path(str(form.get("back", "/gallery"))), 303)

    def _seen(self, request: Request, visitor: Visitor, form: FormData) -> Response:
        alert = schema.alert
        with self._database.begin() as db:
            same = alert.c.id == request.path_params["number"]
            values = {"seen_by": visitor.name, "seen_ts": time.time()}
            db.execute(sa.update(alert).where(same).values(**values))
        return RedirectResponse(_safe_path(str(form.get("back", "/alerts"))), 303)

    def _retire(self, request: Request, visitor: Visitor, form: FormData) -> Response:
        row = self._row(request)
        with self._database.begin() as db:
            same = schema.bin_.c.id == row["id"]
            db.execute(sa.update(schema.bin_).where(same).values(retired=1 - row["retired"]))
        return RedirectResponse(request.url.path.rpartition("/")[0], 303)

    def _anew(self, request: Request, visitor: Visitor, form: FormData) -> Response:
        forget_reference(self._database, self._row(request)["id"], now_ts=time.time())
        return RedirectResponse(request.url.path.rpartition("/")[0], 303)

    # For programs

    async def _metrics(self, request: Request) -> Response:
        token, given = self._access.metrics_token, request.headers.get("authorization", "")
        if token:
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                return PlainTextResponse("a bearer token is needed\n", 401)
        elif self._access.behind_proxy or not is_loopback(client_address(request)):
            return PlainTextResponse("set page.metrics_token_file to read this from afar\n", 403)
        text = await run_in_threadpool(self._figures.text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _healthz(self, request: Request) -> Response:
        troubles = self._trouble()
        return PlainTextResponse("\n".join(troubles) or "good", 503 if troubles else 200)


class _Fleeting(FileResponse):
    """A file that is gone once it was sent."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            Path(self.path).unlink(missing_ok=True)


def _page(text: str | None) -> int:
    return min(int(text), 1_000_000) if text and text.isdecimal() and len(text) < 8 else 0


def _safe_path(path: str) -> str:
    """A path of this page alone: no way to another site."""
    good = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if good and path.isprintable() else "/"
