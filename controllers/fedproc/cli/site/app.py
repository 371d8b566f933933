"""The commands of ``fedproc site`` are added to this."""

from __future__ import annotations

from pathlib import Path

import typer

INSTALLED = Path("/etc/fedproc/host.toml")
"""the settings of an installed host, which are taken unless others are given"""
site = typer.Typer(
    help="On a host: can it join, what runs, what awaits release, the stop switch.", no_args_is_help=True
)
