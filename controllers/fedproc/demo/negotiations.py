"""``python -m fedproc.demo.negotiations serve|grant|withdraw|list --file FILE``: stands in for EUCAIM's adapter of the
Negotiator (user-negotiations-info) in a federation on one machine. It is not that adapter, and no production uses it.

What it answers is of the same shape, and the users' tokens are checked as the API checks them. Who may use what stands
in FILE (JSON: by user name, by dataset, a negotiation), which the other words change while it serves.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from joserfc import jws
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fedproc.central.auth.issuer import Issuer
from fedproc.central.auth.tokens import Verifier
from fedproc.central.settings import IssuerSettings
from fedproc.common.errors import InvalidTokenError, UnavailableError
from fedproc.common.files import write_atomically

_PAGE = 30
_LARGEST_PAGE = 1000
_MADE = "2026-01-01"
TOLD = ("project", "permit", "purpose", "until")
"""what a negotiation may tell of its grant"""
_KINDS = ("CONCLUDED", "IN_PROGRESS")

Grants = dict[str, dict[str, dict[str, str]]]
"""by user name, by dataset: the negotiation which has made it available, with its id and what it tells"""


def read(file: Path) -> Grants:
    """What the file says; nobody may use anything where there is none."""
    found = json.loads(file.read_text()) if file.exists() else {}
    return {
        user: {name: {"id": made} if isinstance(made, str) else made for name, made in held.items()}
        for user, held in found.items()
    }


def grant(file: Path, user: str, dataset: str, named: Mapping[str, str] = MappingProxyType({})) -> str:
    """Make the dataset available to the user, or change what is told of it; the id of the negotiation."""
    held = read(file)
    before = held.setdefault(user, {}).get(dataset, {})
    made = before.get("id") or f"negotiation-{secrets.token_hex(4)}"
    held[user][dataset] = {"id": made, **named}
    _write(file, held)
    return made


def withdraw(file: Path, user: str, dataset: str) -> bool:
    """Take it away again; whether there was anything to take."""
    held = read(file)
    taken = held.get(user, {}).pop(dataset, None)
    _write(file, held)
    return taken is not None


def _write(file: Path, held: Grants) -> None:
    write_atomically(file, (json.dumps(held, indent=1, sort_keys=True) + "\n").encode(), 0o644)


def create_app(file: Path, issuer: IssuerSettings) -> Starlette:
    """Its one address, ``GET /api/v1/negotiations?type&page&size``; all that it knows is in the file."""
    asked = Issuer(issuer)
    verifier = Verifier(asked)

    async def negotiations(request: Request) -> JSONResponse:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            await verifier.verify(token)
        except InvalidTokenError as error:
            return JSONResponse({"message": error.message}, 401)
        except UnavailableError as error:
            return JSONResponse({"message": error.message}, 503)
        name = json.loads(jws.extract_compact(token.encode()).payload).get("preferred_username", "")
        query = request.query_params
        page, size, kind = query.get("page", "0"), query.get("size", str(_PAGE)), query.get("type")
        if kind not in _KINDS or not page.isdecimal() or not size.isdecimal() or not 0 < int(size) <= _LARGEST_PAGE:
            return JSONResponse({"message": "type is CONCLUDED or IN_PROGRESS, page and size are numbers"}, 400)
        held = read(file).get(name, {}) if kind == "CONCLUDED" else {}
        return JSONResponse(_page(held, int(page), int(size)))

    return Starlette(routes=[Route("/api/v1/negotiations", negotiations)])


def _page(held: dict[str, dict[str, str]], number: int, size: int) -> dict[str, Any]:
    entries = [
        {**made, "creationDate": _MADE, "modifiedDate": _MADE,
         "resources": [{"id": dataset, "name": dataset, "sourceId": dataset}]}
        for dataset, made in sorted(held.items())
    ]  # fmt: skip
    return {
        "size": size, "number": number, "totalElements": len(entries), "totalPages": -(-len(entries) // size),
        "data": entries[number * size : (number + 1) * size],
    }  # fmt: skip


def main() -> int:
    """Serve on the loopback interface until SIGTERM, or change the file."""
    parser = argparse.ArgumentParser(prog="python -m fedproc.demo.negotiations", description=__doc__)
    acts = parser.add_subparsers(dest="act", required=True)
    serving = acts.add_parser("serve", help="answer the API, until SIGTERM")
    serving.add_argument("--port", type=int, required=True)
    serving.add_argument("--issuer", required=True, help="address of the issuer whose tokens count")
    serving.add_argument("--ca", type=Path, help="its authority")
    changing = [acts.add_parser(name) for name in ("grant", "withdraw")]
    for one in changing:
        one.add_argument("user")
        one.add_argument("dataset", help="HOST:id")
    for name in TOLD:
        changing[0].add_argument(f"--{name}", help=f"the {name} that the negotiation tells")
    for one in (serving, *changing, acts.add_parser("list", help="who may use what")):
        one.add_argument("--file", type=Path, required=True)
    given = parser.parse_args()
    if given.act == "serve":
        return _serve(given)
    if given.act == "grant":
        named = {name: value for name in TOLD if (value := getattr(given, name)) is not None}
        _say(grant(given.file, given.user, given.dataset, named))
    elif given.act == "list":
        _say(json.dumps(read(given.file), indent=1))
    elif not withdraw(given.file, given.user, given.dataset):
        _say(f"{given.user} had no grant for {given.dataset}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _serve(given: argparse.Namespace) -> int:
    import uvicorn

    settings = IssuerSettings(url=given.issuer, ca_file=given.ca)
    uvicorn.run(create_app(given.file, settings), host="127.0.0.1", port=given.port, log_level="warning")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
