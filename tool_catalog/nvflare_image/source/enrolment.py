"""How a run begins: each host sends the public half of its key and what it has, and gets its certificate.

It goes over the port on which NVFLARE's server listens afterwards: a tool's connection is one port, which hosts dial.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from kits import Authority, Pair, new_key, read_public
from patches.faults import Broken
from regression.answers import Answer
from regression.faults import Fault as WrongAnswer
from regression.jsonfile import strict_object
from request import Request
from rounds.asking import post
from rounds.serving import serving

LONGEST = 4000
"""characters of a key or a certificate"""


@dataclass(frozen=True)
class Member:
    """One host, with its certificate and its patches."""

    certificate: bytes
    rows: dict[str, int]


def gather(port: int, hosts: list[str], request: Request) -> tuple[Authority, dict[str, Member]]:
    """Wait for all hosts, and give each its certificate. Raises Broken naming those that are missing or wrong."""
    authority = Authority()
    try:
        with serving(port, hosts) as rounds:
            members = {
                answer.host: _member(answer, authority, request) for answer in rounds.gather(request.join_seconds)
            }
            certificates = {host: member.certificate.decode() for host, member in members.items()}
            rounds.reply(json.dumps({"root": authority.root.decode(), "certificates": certificates}).encode())
    except WrongAnswer as fault:
        raise Broken(str(fault)) from fault
    return authority, members


def _member(answer: Answer, authority: Authority, request: Request) -> Member:
    answer.check(("key", "train_rows", "test_rows"), schema_version=1, request=request.as_json())
    rows = {name: answer.persons(name, request.min_persons) for name in ("train_rows", "test_rows")}
    try:
        public = read_public(answer.text("key", LONGEST))
    except (ValueError, TypeError) as fault:
        raise answer.wrong("key must be a public RSA key") from fault
    return Member(authority.certificate(answer.host, public), rows)


def enrol(address: str, host: str, rows: Mapping[str, int], request: Request) -> tuple[Pair, bytes]:
    """This host's key with its certificate, and the root. Raises Broken."""
    key, public = new_key()
    answer = {"schema_version": 1, "request": request.as_json(), "key": public, **rows}
    try:
        told = strict_object(
            post(address, {"host": host, "round": 0, "answer": answer}, request.patience), "the server's message"
        )
    except WrongAnswer as fault:
        raise Broken(str(fault)) from fault
    certificates, root = told.get("certificates"), told.get("root")
    found = certificates.get(host) if isinstance(certificates, dict) else None
    if not isinstance(found, str) or not isinstance(root, str) or max(len(found), len(root)) > LONGEST:
        raise Broken("the server gives this host no certificate; its log says why")
    return Pair(key, found.encode()), root.encode()
