"""``fedproc data compare``: where two hospitals describe their data differently."""

from __future__ import annotations

from typing import Annotated

import typer

from fedproc.cli.browse import data
from fedproc.cli.comparison import differences
from fedproc.cli.show import AsJson, as_json, notice, say, table
from fedproc.client.session import signed_in
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.hosts import DatasetDetail

DIFFERENT = 3
"""exit code"""


@data.command("compare")
def compare(dataset: Annotated[list[str], typer.Argument(help="HOST:ID, two or more")], json: AsJson = False) -> None:
    """Where the descriptions of datasets differ: columns that are missing, types, units, categories.

    \b
    Exit codes:
    0    nothing differs
    3    something does
    1    an error
    """
    with signed_in() as client:
        wanted = list(dict.fromkeys(each for name in dataset for each in client.named_datasets(name)))
        if len(wanted) < 2:
            raise InvalidInputError("name two datasets or more, as HOST:ID (fedproc data lists them)")
        found = {name: client.dataset(name) for name in wanted}
    _check_described(found)
    differing = differences({name: detail.columns for name, detail in found.items()})
    if json:
        as_json([{"column": each.column, "what": each.what, "found": dict(each.found)} for each in differing])
    else:
        rows = [(each.column, each.what, *(each.found[name] for name in wanted)) for each in differing]
        if rows:
            table(("column", "differs", *wanted), rows, none="")
        else:
            say(f"the descriptions say the same of each column of {', '.join(wanted)}")
    if differing:
        raise typer.Exit(DIFFERENT)


def _check_described(found: dict[str, DatasetDetail]) -> None:
    if without := [name for name, detail in found.items() if not detail.columns]:
        raise InvalidInputError(
            f"no columns are described of {', '.join(without)}: ask its site (fedproc data describe)"
        )
    for name in (name for name, detail in found.items() if not detail.complete):
        notice(f"{name}: its host has not sent all columns yet; those that have come are compared")


def mount(app: typer.Typer) -> None:
    """The command stands in the group of :mod:`fedproc.cli.browse`."""
