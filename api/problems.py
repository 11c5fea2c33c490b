"""This module turns every failure into an answer of RFC 9457, and says nothing about our insides.

`type` is a URN whose last part is a stable code for programs; `detail` is one English sentence for people.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from core.errors import Conflict, MalformedPayload, NotFound, Unavailable, UrbanpulseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROBLEM", "Refusal", "answer", "bad_field", "problem"]

PROBLEM = "application/problem+json"
_RETRY_SECONDS = "2"


class Refusal(UrbanpulseError):  # noqa: N818 - named after the thing
    """The api refuses a request: `status`, a stable `code`, a sentence, and headers that help."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = errors


def bad_field(name: str, reason: str) -> Refusal:
    """Return the refusal of a request whose field *name* is wrong for *reason*."""
    return Refusal(422, "invalid", f"{name}: {reason}", errors=[{"field": name, "reason": reason}])


def problem(refusal: Refusal, instance: str) -> Response:
    """Return the response that says *refusal* about the request to *instance*."""
    body: dict[str, Any] = {
        "type": f"urn:urbanpulse:problem:{refusal.code}",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.detail,
        "instance": instance,
    }
    if refusal.errors:
        body["errors"] = refusal.errors
    return Response(orjson.dumps(body), refusal.status, refusal.headers, PROBLEM)


def answer(error: Exception) -> Refusal:  # noqa: PLR0911 - one return per kind of error
    """Return what a client is told of *error*; an error that nobody foresaw is a bare 500."""
    match error:
        case Refusal():
            return error
        case NotFound():
            return Refusal(404, "not-found", str(error))
        case Conflict():
            return Refusal(409, "conflict", str(error))
        case MalformedPayload():
            return Refusal(422, error.reason.replace("_", "-"), error.detail)
        case Unavailable():
            return Refusal(
                503, "unavailable", f"{error.part} is away, try again", headers={"Retry-After": _RETRY_SECONDS}
            )
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            phrase = HTTPStatus(error.status_code).phrase
            code = phrase.lower().replace(" ", "-")
            return Refusal(error.status_code, code, str(error.detail or phrase), headers=error.headers)
        case _:
            return Refusal(500, "internal", "something went wrong on our side; the log has it under this request's id")


def _invalid(error: RequestValidationError) -> Refusal:
    """Name every bad field; the values stay out, because they may be passwords."""
    errors = [
        {"field": ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0]), "reason": str(item["msg"])}
        for item in error.errors()
    ]
    text = "; ".join(f"{item['field']}: {item['reason']}" for item in errors[:5])
    return Refusal(422, "invalid", text, errors=errors[:50])
