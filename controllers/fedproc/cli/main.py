"""``fedproc``: one Typer application, thin; each command imports what it needs when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedproc.contract.errors import FedprocError

app = typer.Typer(
    name="fedproc",
    help="Federated processing for EUCAIM: analysis travels to the hospitals, only approved results leave.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
Config = Annotated[Path, typer.Option("--config", help="settings file (TOML)")]


@app.command(rich_help_panel="Services")
def api(config: Config) -> None:
    """Run the central API."""
    from fedproc.central.app import serve

    serve(config)


@app.command(rich_help_panel="Services")
def relay(config: Config) -> None:
    """Run the relay between the central database and the broker."""
    from fedproc.central.relay import serve

    serve(config)


@app.command(rich_help_panel="Services")
def orchestrator(config: Config) -> None:
    """Run a host's orchestrator."""
    from fedproc.site.daemon import serve

    serve(config)


def main() -> None:
    """Entry point: errors are printed as what, where and cure, never as a traceback."""
    try:
        app()
    except FedprocError as fault:
        sys.stderr.write(f"fedproc: {fault.message}\n")
        sys.exit(1)
