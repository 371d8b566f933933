"""``fedproc site tools``: approved tools on this host ahead of need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedproc.cli.show import AsJson, as_json, notice, styled, table
from fedproc.cli.site.app import INSTALLED, site

tools = typer.Typer(help="Tools that this host has ready.", no_args_is_help=True)
site.add_typer(tools, name="tools")

Config = Annotated[
    Path, typer.Option("--config", envvar="FEDPROC_SITE_CONFIG", help="the orchestrator's settings file (host.toml)")
]


@tools.command()
def fetch(
    tool: Annotated[
        list[str] | None, typer.Argument(help="ids of tools; all that the policy admits unless given")
    ] = None,
    config: Config = INSTALLED,
    archive: Annotated[Path | None, typer.Option("--from", help="an offline archive, instead of the centre")] = None,
    json: AsJson = False,
) -> None:
    """Fetch tools by digest, check their signatures, make their images or environments ready.

    Only what the site's policy admits. Exits with 1 if something could not be had.
    """
    from fedproc.site import settings
    from fedproc.site.tools.prefetch import fetch as fetched

    outcomes = fetched(settings.load(config), tuple(tool or ()), archive, notice)
    if json:
        as_json([outcome.as_json() for outcome in outcomes])
    else:
        ready = {True: styled("ready", "green"), False: styled("not ready", "red")}
        rows = [(o.tool, o.version, o.task, ready[o.ready], o.what) for o in outcomes]
        table(("tool", "version", "task", "", "in, or why not"), rows, none="the policy admits no tool")
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(1)


def mount(_app: typer.Typer) -> None:
    """The commands are part of ``fedproc site``, which is in the application already."""
