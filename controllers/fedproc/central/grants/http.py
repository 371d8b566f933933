"""One request to a provider, of which every answer but a JSON object with status 200 is "could not be asked"."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from fedproc.central.grants.answers import NotAskedError
from fedproc.common.http import text_of

_MOST_BYTES = 4 << 20


async def json_of(http: httpx.AsyncClient, url: str, token: str, seconds: float, **params: str | int) -> dict[str, Any]:
    """The object that ``url`` answers with to the user's own token, within ``seconds`` as a whole.

    Raises :class:`NotAskedError`.
    """
    try:
        async with asyncio.timeout(seconds):
            body = await _body(http, url, token, params)
        answer = json.loads(body)
    except TimeoutError as error:
        raise NotAskedError(f"{url} did not answer within {seconds:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotAskedError(f"{url} does not answer: {text_of(error)}") from error
    except (ValueError, RecursionError) as error:
        raise NotAskedError(f"{url} gives no JSON") from error
    if not isinstance(answer, dict):
        raise NotAskedError(f"{url} gives no JSON object")
    return answer


async def _body(http: httpx.AsyncClient, url: str, token: str, params: dict[str, str | int]) -> bytes:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    async with http.stream("GET", url, params=params, headers=headers) as answer:
        if answer.status_code != 200:
            raise NotAskedError(f"{url} answers {answer.status_code}")
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > _MOST_BYTES:
                raise NotAskedError(f"{url} answers with more than {_MOST_BYTES >> 20} MiB")
        return bytes(body)
