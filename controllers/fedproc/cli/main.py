"""``fedproc``: one Typer application, thin; each command imports what it needs when it is called."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import Annotated, NoReturn

import typer

from fedproc.common.errors import FedprocError

_HELP = "Federated processing for EUCAIM: analysis travels to the hospitals, only approved results leave."
_SERVICES = {"api", "relay", "orchestrator", "data-api", "runner", "migrate"}
_MODULES = {
    "account": {"login", "logout"},
    "browse": {"hosts", "tools", "data"},
    "datasets": {"data"},
    "comparing": {"data"},
    "images": {"data"},
    "enrolments": {"hosts"},
    "survey": {"hosts"},
    "host_logs": {"hosts"},
    "run": {"run", "follow", "start"},
    "experiments": {"experiments", "results"},
    "retention": {"storage", "users"},
    "catalog": {"catalog"},
    "submissions": {"catalog"},
    "audit": {"audit"},
    "site.check": {"site"},
    "site.control": {"site"},
    "site.releases": {"site"},
    "site.review": {"site"},
    "site.storage": {"site"},
    "site.enrol": {"site"},
    "site.files": {"site"},
    "site.tools": {"site"},
    "site.accept": {"site"},
    "site.audit": {"site"},
    "services": _SERVICES,
}
"""the commands of each module by their first words, in the order in which help shows them"""
_ALONE: dict[tuple[str, ...], tuple[str, ...]] = {
    ("site", name): ("site.check",) for name in ("check", "diagnose", "profiles")
} | {("site", name): ("site.check", "site.files") for name in ("policy", "settings")}
"""what needs no more than these, as scripts call it"""


def application(arguments: list[str]) -> typer.Typer:
    """The application with what the first word needs, or all if it is no command: to build all takes longest of all."""
    app = typer.Typer(
        name="fedproc",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback(help=_HELP)(_options)
    for name in _modules(arguments):
        importlib.import_module(f"fedproc.cli.{name}").mount(app)
    return app


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fedproc {importlib.metadata.version('fedproc')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """What stands before a command."""


def _modules(arguments: list[str]) -> tuple[str, ...]:
    if alone := _ALONE.get(tuple(arguments[:2])):
        return alone
    named = tuple(module for module, commands in _MODULES.items() if commands & set(arguments[:1]))
    return named or tuple(_MODULES)


def main() -> None:
    """Entry point: errors are printed as what, where and cure, never as a traceback."""
    try:
        application(sys.argv[1:])()
    except FedprocError as error:
        _fail(error.message)
    except OSError as error:
        if sys.argv[1:2] and sys.argv[1] in _SERVICES:
            raise
        what = error.strerror or str(error) or type(error).__name__
        _fail(what if error.filename is None else f"{error.filename}: {what}")


def _fail(message: str) -> NoReturn:
    from fedproc.cli.show import say_fault

    say_fault(message)
    sys.exit(1)
