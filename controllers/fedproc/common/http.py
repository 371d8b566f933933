"""HTTP to a service of ours: signing in as a machine, and what a refusal says.

A machine signs in at the issuer by client credentials with ``private_key_jwt`` (RFC 7523): nothing secret is sent.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from fedproc.common.keys import ALGORITHM

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TRANSIENT = frozenset({408, 423, 425, 429, 500, 502, 503, 504, 507})
"""statuses after which the same request may succeed later"""


def client_assertion(client_id: str, audience: str, key: ECKey, issued: int | None = None) -> dict[str, str]:
    """Form fields that authenticate ``client_id`` at the token endpoint ``audience`` for the next minute."""
    now = int(time.time()) if issued is None else issued
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + 60,
    }
    header = {"alg": ALGORITHM, "kid": key.thumbprint()}
    return {
        "client_id": client_id,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": jwt.encode(header, claims, key, algorithms=[ALGORITHM]),
    }


class BearerAuth(httpx.Auth):
    """Puts a token on each request; one that is answered by 401 is sent once more with a fresh token.

    ``token`` gives a token, fresh if asked. A body that is a stream cannot be sent twice: its 401 is handed on.
    """

    def __init__(self, token: Callable[[bool], Awaitable[str]]) -> None:
        self._token = token

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        request.headers["Authorization"] = f"Bearer {await self._token(False)}"
        answer = yield request
        if answer.status_code == 401 and _is_repeatable(request):
            request.headers["Authorization"] = f"Bearer {await self._token(True)}"
            yield request


def _is_repeatable(request: httpx.Request) -> bool:
    return isinstance(request.stream, httpx.ByteStream)


def is_problem(answer: httpx.Response) -> bool:
    """Whether a problem document (RFC 9457) came: so an API of ours answered, and not something before it."""
    return str(answer.headers.get("content-type", "")).startswith("application/problem+json")


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """The problem document (RFC 9457) of a read answer; of any other answer one with its status and first words."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        return {"detail": f"HTTP {answer.status_code}: {answer.text[:200]}"}
    return body if isinstance(body, dict) else {"detail": str(body)}


def detail_of(answer: httpx.Response) -> str:
    """What a refusal says in words."""
    problem = problem_of(answer)
    return str(problem.get("detail") or problem.get("error_description") or f"HTTP {answer.status_code}")


def text_of(error: BaseException) -> str:
    """A fault in words; some of a library's have none."""
    return str(error) or type(error).__name__
