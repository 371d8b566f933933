"""``fedproc hosts code``, ``enrolments``, ``confirm``, ``reject``, ``revoke``, ``drain``,
``resume``: letting hosts in and out (operators)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from fedproc.cli.browse import hosts
from fedproc.cli.show import AsJson, as_json, bold, clock, say, table
from fedproc.client.session import signed_in
from fedproc.common.errors import ConflictError, InvalidInputError
from fedproc.contract.api.enrolments import CODE_HOURS, EnrolmentView, NewEnrolment

Hours = Annotated[float, typer.Option(help="how long it is good", min=0.01, max=720)]
Fingerprint = Annotated[
    str | None, typer.Option(help="what the site said of its key, by another way; compared with the request's")
]


@hosts.command()
def code(host: str, hours: Hours = CODE_HOURS, json: AsJson = False) -> None:
    """Give out a single-use code for a host; an earlier one of it is void then."""
    try:
        new = NewEnrolment(host=host, hours=hours)
    except ValidationError as error:
        raise InvalidInputError(f"{host!r} is no host id: capital letters, digits and _, for example UB") from error
    with signed_in(operator=True) as client:
        given = client.offer(new)
    if json:
        return as_json(given)
    say(bold(given.code))
    say(f"for {given.host}, until {clock(given.expires)}; it is shown this once")


@hosts.command()
def enrolments(json: AsJson = False) -> None:
    """Codes that were given out, and requests that wait for a certificate."""
    with signed_in(operator=True) as client:
        found = client.enrolments()
    if json:
        return as_json(found)
    rows = [(entry.host, _state(entry), clock(entry.requested), entry.fingerprint or "") for entry in found]
    table(("host", "state", "requested", "fingerprint of its key (sha256)"), rows, none="no enrolment is open")


def _state(entry: EnrolmentView) -> str:
    if entry.state != "offered":
        return entry.state
    return "code void" if entry.void else f"code good until {clock(entry.expires)}"


@hosts.command()
def confirm(
    host: str,
    certificate: Annotated[Path, typer.Option(help="certificate of the host's request (PEM)")],
    fingerprint: Fingerprint = None,
    json: AsJson = False,
) -> None:
    """Hand a host its certificate, after its fingerprint was compared."""
    from fedproc.contract.enrolment import same_fingerprint

    try:
        text = certificate.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"certificate {certificate}: {error}") from error
    with signed_in(operator=True) as client:
        if fingerprint is not None:
            asked = client.enrolment(host).fingerprint or "none yet"
            if not same_fingerprint(asked, fingerprint):
                raise ConflictError(
                    f"{host} asked with the key {asked}, not {fingerprint}: if the site is sure, reject it"
                )
        found = client.confirm(host, text)
    as_json(found) if json else say(f"{host} is confirmed with the key {found.fingerprint}")


@hosts.command()
def reject(
    host: str, reason: Annotated[str, typer.Option(prompt=True, help="shown to the host")], json: AsJson = False
) -> None:
    """Refuse a host's request."""
    with signed_in(operator=True) as client:
        found = client.reject(host, reason)
    as_json(found) if json else say(f"{host} is refused; `fedproc hosts code {host}` lets it try again")


@hosts.command()
def revoke(
    host: str, reason: Annotated[str, typer.Option(prompt=True, help="kept in the audit")], json: AsJson = False
) -> None:
    """Shut a host out at once: API, its jobs, its connections with other hosts."""
    with signed_in(operator=True) as client:
        found = client.revoke(host, reason)
    as_json(found) if json else say(f"{host} is revoked; `fedproc hosts enrol {host}` lets it in again")


@hosts.command()
def drain(
    host: str, reason: Annotated[str, typer.Option(prompt=True, help="shown to researchers")], json: AsJson = False
) -> None:
    """Let no new job go to a host; those that are there go on to their ends, others wait for resume."""
    with signed_in(operator=True) as client:
        found = client.drain(host, reason)
    left = f"{found.open_jobs} of its jobs are open" if found.open_jobs else "none of its jobs is open"
    as_json(found) if json else say(f"no new job goes to {host}; {left}; `fedproc hosts resume {host}` ends it")


@hosts.command()
def resume(host: str, json: AsJson = False) -> None:
    """Let new jobs go to a host again, after drain."""
    with signed_in(operator=True) as client:
        found = client.resume(host)
    as_json(found) if json else say(f"new jobs go to {host}")


def mount(_app: typer.Typer) -> None:
    """The commands are part of ``fedproc hosts``, which is in the application already."""
