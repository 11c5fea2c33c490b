"""This module is login, logout and who am I."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from api.auth import COOKIE
from api.context import Ctx, Viewer, json_response
from api.models import Login, Me, Session

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["session"])


@router.post("/login", operation_id="login", response_model=Session)
async def login(body: Login, request: Request, context: Ctx) -> Response:
    """Log in with name and password; the answer sets the session cookie."""
    context.guard.check_origin(request, required=False)
    address = request.client.host if request.client else "-"
    principal, token = await to_thread.run_sync(
        context.guard.login, body.name, body.password, address, limiter=context.login_limiter
    )
    response = json_response({"name": principal.name, "role": principal.role, "city": context.settings.city_name})
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(context.settings.session_hours * 3600),
        httponly=True,
        samesite="lax",
        secure=_is_https(request, context),
    )
    return response


@router.post("/logout", operation_id="logout", status_code=204, response_class=Response)
def logout(request: Request, context: Ctx) -> Response:
    """End the session; without one there is nothing to end."""
    context.guard.check_origin(request, required=COOKIE in request.cookies)
    context.guard.logout(request)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=_is_https(request, context))
    return response


@router.get("/me", operation_id="get_me", response_model=Me)
async def me(principal: Viewer, context: Ctx) -> Response:
    """Tell who is asking and what they may do."""
    city = context.settings.city_name
    return json_response({"name": principal.name, "role": principal.role, "city": city, "kind": principal.kind})


def _is_https(request: Request, context: Ctx) -> bool:
    return request.url.scheme == "https" or (context.settings.public_url or "").startswith("https:")
