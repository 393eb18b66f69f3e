"""What every answer of the page carries, and what no request may do."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.fleet.figures import Figures

MAX_BODY = 65_536
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware: bounded bodies, same origin for every change, headers, timing."""

    def __init__(self, app: ASGIApp, *, figures: Figures, https: bool) -> None:
        self._app = app
        self._figures = figures
        self._https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.monotonic()
        fault = _fault_of(scope)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                if self._https or scope["scheme"] == "https":
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        answer: ASGIApp = PlainTextResponse(*fault) if fault else self._app
        await answer(scope, receive, dressed)
        self._figures.page.observe(time.monotonic() - started_s)


def _fault_of(scope: Scope) -> tuple[str, int] | None:
    """Why a request is not even looked at, and its status; None for a good one."""
    if scope["method"] in ("GET", "HEAD"):
        return None
    if scope["method"] != "POST":
        return "only GET and POST", 405
    headers = Headers(scope=scope)
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return "content-length is needed", 411
    if int(length) > MAX_BODY:
        return "too large", 413
    if not same_origin(headers):
        return "this form came from another site; open the page itself and try again", 403
    return None


def same_origin(headers: Headers) -> bool:
    """Whether a form was sent by a page of ours; browsers say so by one header or the other."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def client_address(request: Request) -> str:
    """Who asks; behind a proxy, uvicorn has put in whom the proxy names."""
    return request.client.host if request.client else "unknown"
