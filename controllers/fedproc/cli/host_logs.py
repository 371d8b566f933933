"""``fedproc hosts checkpoint`` and ``accept-log``: the centre as the witness of its hosts' transparency logs."""

from __future__ import annotations

from typing import Annotated

import typer

from fedproc.cli.browse import hosts
from fedproc.cli.show import bold, say
from fedproc.client.session import signed_in
from fedproc.common.errors import NotFoundError


@hosts.command("checkpoint")
def checkpoint(host: str) -> None:
    """The last checkpoint of a host's transparency log that the centre has witnessed, for `fedproc audit verify`."""
    with signed_in() as client:
        found = client.host(host)
    if found.log is None or not found.log.note:
        raise NotFoundError(f"the centre has seen no checkpoint of {host}: does it run this release?")
    typer.echo(found.log.note, nl=False)


@hosts.command("accept-log")
def accept_log(
    host: str, reason: Annotated[str, typer.Option(prompt=True, help="what its site said; kept in the audit")]
) -> None:
    """Take a host's transparency log as it is now, though it is not what it was (operators)."""
    with signed_in(operator=True) as client:
        client.reset_witness(host, reason)
    say(bold(host), ": its next checkpoint is taken as it comes")


def mount(_app: typer.Typer) -> None:
    """The commands are part of ``fedproc hosts``, which is in the application already."""
