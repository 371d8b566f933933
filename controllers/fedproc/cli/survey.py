"""``fedproc hosts survey``: what the machines of the federation can do, by the reports of their own checks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedproc.cli.browse import hosts
from fedproc.cli.show import AsJson, as_json
from fedproc.client.session import signed_in
from fedproc.common.errors import InvalidInputError
from fedproc.onboarding.report import survey as reports


@hosts.command()
def survey(
    json: AsJson = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write it as a page to print and file", dir_okay=False)
    ] = None,
) -> None:
    """What all hosts can do: a table, a page, or their whole reports as JSON (operators)."""
    with signed_in(operator=True) as client:
        found = client.host_reports()
    entries = [(entry.host, entry.report) for entry in found]
    if html is not None:
        _write(html, reports.render_html(entries))
    if json:
        return as_json(found)
    sys.stdout.write(reports.render_text(entries))


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}; choose another place") from error


def mount(_app: typer.Typer) -> None:
    """The command is part of ``fedproc hosts``, which is in the application already."""
