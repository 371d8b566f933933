"""Where a person gets help, with what a helper asks for first: facts of an experiment, and nothing confidential."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from fedproc.central.api.pages.formatting import state_of
from fedproc.contract.api.experiments import ExperimentView

_MOST_JOBS = 30


def address(where: str, subject: str = "", text: str = "") -> str:
    """What a link to ``where`` (a mail address, or an https address) has as its target; empty without any."""
    if not where or where.startswith("https://"):
        return where
    filled = {name: value for name, value in (("subject", subject), ("body", text)) if value}
    return f"mailto:{quote(where, safe='@')}" + (f"?{urlencode(filled, quote_via=quote)}" if filled else "")


def facts_of(experiment: ExperimentView) -> str:
    """What ran where and how it stands, by ids and words of ours; no label, purpose, parameter, or name of a person."""
    lines = [
        f"Experiment: {experiment.id} ({state_of(experiment)})",
        f"Tool: {experiment.tool} {experiment.version}, {experiment.digest}",
        f"Started: {experiment.created:%Y-%m-%d %H:%M:%S} UTC",
        *(f"Ended: {experiment.ended:%Y-%m-%d %H:%M:%S} UTC" for _ in range(experiment.ended is not None)),
    ]
    shown = experiment.jobs[:_MOST_JOBS]
    lines += [f"{job.host}, {job.task}: {job.state.value}" + (f" ({job.code})" if job.code else "") for job in shown]
    if left_out := len(experiment.jobs) - len(shown):
        lines.append(f"and {left_out} more jobs")
    return "\n".join(lines) + "\n"
