"""A host's end: it introduces itself, and answers each round until the server says that all is over."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from regression.faults import Broken

from .evaluation import Evaluation
from .messages import LARGEST, PATH, REFUSED, Ask


class FewPersons(Exception):
    """The sums at these coefficients would be carried by fewer persons than may be told of."""


@dataclass(frozen=True)
class Site:
    """One host's side. ``evaluate`` raises :class:`FewPersons` where nothing may be told.

    ``terms`` are the design's columns, ``coefficients`` as many or, with an intercept, one more.
    """

    host: str
    introduction: dict[str, Any]
    terms: int
    coefficients: int
    evaluate: Callable[[Ask], Evaluation]


def take_part(address: str, site: Site, most: int, seconds: float) -> None:
    """Answer the server at ``address`` (host:port) until all is over, and in no more than ``most`` rounds.

    Raises :class:`Broken` if the server cannot be reached, is silent for ``seconds``, or asks for anything else than
    the next round: it gets sums at coefficients, and nothing that it could choose beside.
    """
    answer, number = site.introduction, 0
    while True:
        reply = post(address, {"host": site.host, "round": number, "answer": answer}, seconds)
        asked = Ask.read(reply, number + 1, site.terms, site.coefficients)
        if asked is None:
            return
        number = asked.round
        if number > most:
            raise Broken(f"the server asks for more than {most} rounds (max_rounds): nothing is told")
        answer = _answer(site, asked)


def _answer(site: Site, asked: Ask) -> dict[str, Any]:
    try:
        answer = site.evaluate(asked).as_json()
    except FewPersons:
        print(f"{site.host}: round {asked.round}: fewer than min_cell persons would carry the sums", flush=True)
        return REFUSED
    print(f"{site.host}: round {asked.round} answered", flush=True)
    return answer


def post(address: str, message: dict[str, Any], seconds: float) -> bytes:
    """The server's reply to a host's ``message``. Raises :class:`Broken` if there is none, or none in time."""
    name, _, port = address.rpartition(":")
    try:
        connection = http.client.HTTPConnection(name.strip("[]"), int(port), timeout=seconds)
        try:
            connection.request("POST", PATH, json.dumps(message, allow_nan=False).encode())
            response = connection.getresponse()
            body = response.read(LARGEST + 1)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException, socket.gaierror) as fault:
        raise Broken(f"the connection to the server at {address!r} ended before all was over ({fault})") from fault
    if response.status != 200 or len(body) > LARGEST:
        raise Broken("the server does not take this host's answer; its log says why")
    return body
