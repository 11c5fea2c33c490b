"""This module serves files to people: the built console, and the page that explains the api."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from api.problems import Refusal

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["DOCS", "STATIC", "page_routes"]

STATIC = Path(__file__).parent / "static"
DOCS = Path(__file__).parent / "docs_page"

_READ = ["GET", "HEAD"]
_FOREVER = "public, max-age=31536000, immutable"
_OWN = ("api", "docs", "livez", "metrics", "openapi.json", "readyz")
_NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>urbanpulse: no console</title>
<main><h1>The console was not built</h1>
<p>This installation has no built console. In a clone, run <code>pip install -e .</code> without
<code>URBANPULSE_SKIP_CONSOLE</code> (it needs no Node of yours) and start again.</p>
<p>The HTTP interface works all the same: <a href="/docs">its description</a>, <a href="/readyz">its state</a>.</p>
</main></html>
"""


def page_routes(static_dir: str | PathLike[str]) -> APIRouter:
    """Return the routes of `/docs` and of the console in *static_dir*; add them last, they take every other path."""
    static = Path(static_dir)
    router = APIRouter(include_in_schema=False)
    docs = StaticFiles(directory=DOCS)
    built = (static / "index.html").is_file()
    console = StaticFiles(directory=static) if built else None

    @router.api_route("/docs", methods=_READ)
    async def docs_page() -> Response:
        return FileResponse(DOCS / "index.html", headers={"Cache-Control": "no-cache"})

    @router.api_route("/docs/{path:path}", methods=_READ)
    async def docs_file(path: str, request: Request) -> Response:
        response = await docs.get_response(path or "index.html", request.scope)
        response.headers["Cache-Control"] = "no-cache"
        return response

    @router.api_route("/{path:path}", methods=_READ)
    async def page(path: str, request: Request) -> Response:
        if path.split("/", 1)[0] in _OWN:
            raise Refusal(404, "not-found", f"no such address: /{path[:200]}")
        if console is None:
            if path:
                raise Refusal(404, "not-found", f"no such address: /{path[:200]}")
            return HTMLResponse(_NOT_BUILT)
        try:
            response = await console.get_response(path or "index.html", request.scope)
        except HTTPException:
            # a path of the console's own router, unless it looks like a file
            if "." in path.rsplit("/", 1)[-1]:
                raise
            return await console.get_response("index.html", request.scope)
        if path.startswith("assets/"):
            response.headers["Cache-Control"] = _FOREVER
        return response

    return router
