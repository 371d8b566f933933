"""``fedproc site policy check``, ``fedproc site settings check``: would the orchestrator take what somebody wrote?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedproc.cli.show import say
from fedproc.cli.site.app import INSTALLED, site

policy = typer.Typer(help="The site's policy file.", no_args_is_help=True)
settings = typer.Typer(help="The orchestrator's settings file.", no_args_is_help=True)
site.add_typer(policy, name="policy")
site.add_typer(settings, name="settings")

File = Annotated[Path, typer.Argument(help="the file; /dev/stdin reads what is piped in")]


@policy.command("check")
def check_policy(file: File = Path("/etc/fedproc/policy.toml")) -> None:
    """Say what is wrong with a policy: an unknown key, a wrong value, a line that never counts.

    Exit codes: 0 the orchestrator takes it, 1 it does not.
    """
    from fedproc.site.policy import policy_file

    found = policy_file.load(file)
    policy_file.check_order(file, found)
    say(f"{file}: good; lines of the allow-list: {len(found.tools)}")


@settings.command("check")
def check_settings(file: File = INSTALLED) -> None:
    """Say what is wrong with the orchestrator's settings: an unknown key, a wrong value.

    Exit codes: 0 the orchestrator takes them, 1 it does not.
    """
    from fedproc.site.settings import load

    say(f"{file}: good; settings of {load(file).host}")


def mount(_app: typer.Typer) -> None:
    """The commands are part of ``fedproc site``, which is in the application already."""
