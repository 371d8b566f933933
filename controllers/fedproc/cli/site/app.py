"""The commands of ``fedproc site`` are added to this."""

from __future__ import annotations

import typer

site = typer.Typer(
    help="On a host: can it join, what runs, what awaits release, the stop switch.", no_args_is_help=True
)
