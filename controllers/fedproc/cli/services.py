"""``fedproc api``, ``relay``, ``orchestrator``, ``data-api``, ``runner``: the services."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedproc.common.imports import without

PANEL = "Services"
Config = Annotated[Path, typer.Option("--config", help="settings file (TOML)")]
_NOT_IN_HOSTS = ("greenlet", "httpx._main", "rich")
"""what httpx and structlog load for terminals and greenlets, wherever it is there: 6 MiB of each host's memory"""


def api(config: Config) -> None:
    """Run the central API."""
    from fedproc.central.api.app import serve

    serve(config)


def relay(config: Config) -> None:
    """Run the relay between the central database and the broker."""
    from fedproc.central.relay import serve

    serve(config)


def orchestrator(config: Config) -> None:
    """Run a host's orchestrator."""
    with without(*_NOT_IN_HOSTS):
        from fedproc.site.daemon import serve

    serve(config)


def data_api(
    config: Config, check: Annotated[bool, typer.Option("--check", help="read the settings, and end")] = False
) -> None:
    """Run a site's reference Data API, over folders."""
    if check:
        from fedproc.site.data_api import settings

        settings.load(config)
        return
    with without(*_NOT_IN_HOSTS):
        from fedproc.site.data_api.daemon import serve

    serve(config)


def runner(
    folder: Annotated[Path, typer.Option("--dir", help="folder of its socket and records")],
    uids: Annotated[str | None, typer.Option(help="user ids for jobs, FIRST-LAST, when run as root")] = None,
    data_group: Annotated[list[int] | None, typer.Option(help="group that may read datasets")] = None,
    bounds: Annotated[Path | None, typer.Option(help="TOML: folders that jobs may be shown, or may write")] = None,
    askers: Annotated[str | None, typer.Option(help="group that may ask the runner, besides root")] = None,
) -> None:
    """Run a host's job runner, which the sandbox executor needs."""
    from fedproc.site.executors.runner.__main__ import main

    groups = [word for group in data_group or [] for word in ("--data-group", str(group))]
    options = {"--uids": uids, "--bounds": bounds, "--askers": askers}
    given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    raise typer.Exit(main(["--dir", str(folder), *given, *groups]))


def migrate(config: Config) -> None:
    """Bring the central database to the present schema."""
    from fedproc.central import settings
    from fedproc.central.db.engine import connect
    from fedproc.central.db.migrate import migrate as bring
    from fedproc.central.db.migrate import revision

    engine = connect(settings.load(config).database)
    before = revision(engine)
    bring(engine)
    typer.echo(f"central database: {before or 'empty'} -> {revision(engine)}")


def mount(app: typer.Typer) -> None:
    """Add the services to the application."""
    for command in (api, relay, orchestrator, data_api, runner, migrate):
        app.command(rich_help_panel=PANEL)(command)
