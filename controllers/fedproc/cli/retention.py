"""``fedproc storage`` and ``fedproc users``: what the centre keeps, and erasing a person (operators)."""

from __future__ import annotations

from typing import Annotated

import typer

from fedproc.cli.show import AsJson, agreed, as_json, clock, notice, say, size, table
from fedproc.client.session import signed_in
from fedproc.contract.api.retention import KeptKind

users = typer.Typer(help="The federation's users, as far as the centre keeps anything of them.", no_args_is_help=True)


def storage(json: AsJson = False) -> None:
    """How much the centre keeps of each kind, and for how long."""
    with signed_in(operator=True) as client:
        found = client.storage()
    if json:
        return as_json(found)
    rows = [(kind.kind, kind.rows or "", _size(kind), _days(kind), kind.removed or "") for kind in found.kinds]
    head = ("kind", "rows", "bytes", "days kept", "deleted so far")
    table(head, rows, none="nothing was counted yet: the relay does so half a minute after its start")
    say(f"{size(found.free)} are free for files; counted {clock(found.counted)}")


def _size(kind: KeptKind) -> str:
    return "" if kind.bytes is None else size(kind.bytes)


def _days(kind: KeptKind) -> str:
    if kind.kind == "database":
        return ""
    return "for ever" if kind.days is None else f"{kind.days:g}"


@users.command("erase")
def erase(
    subject: Annotated[str, typer.Argument(help="the sub of the person's tokens, the audit's actor")],
    username: Annotated[list[str] | None, typer.Option(help="a name the person signed in with; repeat it")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    json: AsJson = False,
) -> None:
    """Erase a person: all ended experiments, all files, and the name in the audit. There is no way back."""
    agreed(f"Erase all that the centre keeps of {subject}, except open experiments?", yes=yes)
    with signed_in(operator=True) as client:
        found = client.erase_user(subject, username or [])
    if json:
        return as_json(found)
    say(f"{found.experiments} experiments and {found.files} files ({size(found.bytes)}) are deleted")
    say(f"the audit calls the person {found.pseudonym} in {found.audit_entries} entries")
    for experiment in found.open:
        notice(f"{experiment} is open: fedproc experiments cancel {experiment}, then erase again")


def mount(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(storage)
    app.add_typer(users, name="users")
