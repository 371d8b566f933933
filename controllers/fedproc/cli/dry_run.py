"""What ``fedproc run --dry-run`` prints."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from fedproc.cli.show import as_json, bold, say, say_terms, styled, table
from fedproc.contract.api.dry_run import DryRun, HostForecast

NOT_RUN = 3
_OUTCOMES = {"leaves": "leaves by itself", "waits": "waits for a person", "never": "never leaves"}
_COLOURS = {"ok": "green", "waits": "yellow", "fails": "red", "unknown": "yellow"}
_BUDGETS = {
    "left": "is not used up",
    "nearly": "is nearly used up: soon a person looks at each result",
    "none": "is used up: a person looks at each result, whatever stands above",
}


def show_dry_run(found: DryRun, *, json: bool) -> None:
    """Ends the command with :data:`NOT_RUN` if a job is known to end before its outputs are there."""
    if json:
        as_json(found)
    else:
        _show(found)
    if not found.would_run:
        raise typer.Exit(NOT_RUN)


def _show(found: DryRun) -> None:
    for host in found.hosts:
        say(bold(host.host), f": {', '.join(host.tasks)}")
        for check in host.checks:
            say("  ", styled(f"{check.what:10}", _COLOURS[check.stands]), f" {check.text}")
        for grant in host.grants:
            answer = "granted" if grant.answer == "granted" else f"{grant.answer.replace('_', ' ')}: {grant.reason}"
            say("  ", f"{'grant':10} {grant.dataset}: {answer}")
        for budget in host.budgets:
            left = f"its budget of results that leave by themselves {_BUDGETS[budget.left]}"
            say("  ", f"{'budget':10} {budget.dataset}: {left}")
    say_terms(found)
    say("")
    head = ("host", "output", "outcome", "because")
    table(head, [row for host in found.hosts for row in _rows(host)], none="no output leaves a host")
    say("")
    ends = "it would run" if found.would_run else "it would not run to its end as things are"
    more = f"You may have {found.experiments_left} more open at once"
    say(f"{found.tool} {found.version}: {ends}; nothing was started. {more}")


def _rows(host: HostForecast) -> Iterator[tuple[str, ...]]:
    whose = "by its own policy" if host.policy == "own" else "as by default, since it tells no policy"
    for output in host.outputs:
        place = f"{output.task}.{output.output}"
        yield host.host, place, _OUTCOMES[output.outcome], f"{'; '.join(output.because)} ({whose})"
