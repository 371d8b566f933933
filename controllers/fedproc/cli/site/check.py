"""``fedproc site check``, ``diagnose``, ``profiles``: the host check, the same as ``fedproc-check.pyz``.

Nothing is loaded that the check does not need.
"""

from __future__ import annotations

import typer

from fedproc.cli.site.app import INSTALLED, site

_AS_THE_MODULE = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _onboarding(command: str, context: typer.Context) -> None:
    from fedproc.onboarding import main

    raise typer.Exit(main([command, *context.args], program="fedproc site", installed=INSTALLED))


@site.command(context_settings=_AS_THE_MODULE, add_help_option=False)
def check(context: typer.Context) -> None:
    """Can this machine join the federation, why not, and what to do (--help for its options)."""
    _onboarding("check", context)


@site.command(context_settings=_AS_THE_MODULE, add_help_option=False)
def diagnose(context: typer.Context) -> None:
    """Check, and pack what a helper needs into one archive, without secrets."""
    _onboarding("diagnose", context)


@site.command(context_settings=_AS_THE_MODULE, add_help_option=False)
def profiles(context: typer.Context) -> None:
    """List the check's profiles, or print one to start your own from."""
    _onboarding("profiles", context)


def mount(app: typer.Typer) -> None:
    """Add ``fedproc site`` to the application."""
    app.add_typer(site, name="site")
