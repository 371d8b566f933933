"""``fedproc site accept``: a host's acceptance, one real experiment on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedproc.cli.services import Config
from fedproc.cli.show import AsJson, as_json, notice, say, styled
from fedproc.cli.site.app import INSTALLED, site

NOT_ACCEPTED = 2


@site.command()
def accept(
    config: Config = INSTALLED,
    wait: Annotated[float, typer.Option(help="seconds that it may take", min=0)] = 600,
    to: Annotated[Path | None, typer.Option(help="file for what was found (JSON)")] = None,
    json: AsJson = False,
) -> None:
    """Run this host's acceptance as a real experiment: connectivity, a job, a dataset laid out for it.

    Exit codes: 0 accepted, 2 not accepted, 1 the centre cannot be asked.
    """
    from fedproc.site import settings
    from fedproc.site.centre.enrolment.acceptance import NotAcceptedError
    from fedproc.site.centre.enrolment.acceptance import accept as run

    if to is not None:
        to.open("ab").close()  # what cannot be written is told before the experiment, not after it
    error = None
    try:
        view = run(settings.load(config), wait, notice)
    except NotAcceptedError as found:
        if found.view is None:
            raise
        view, error = found.view, found
    if to is not None:
        to.write_text(view.model_dump_json(indent=1) + "\n")
    if error is not None:
        notice(f"fedproc: {error.message}")
        raise typer.Exit(NOT_ACCEPTED)
    if json:
        return as_json(view)
    experiment = view.experiment
    laid_out = ", ".join(experiment.datasets) if experiment else ""
    good = styled(f"{view.host} is accepted", "green")
    say(good, ": the centre reached it, its job looked around and found nothing")
    say(f"amiss, and {laid_out or 'no dataset, as it offers none,'} was laid out for it")


def mount(_app: typer.Typer) -> None:
    """The command is part of ``fedproc site``, which is in the application already."""
