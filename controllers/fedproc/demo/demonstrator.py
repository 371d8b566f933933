"""``make demonstrator``: D6.1's clinical model by each platform over the same hosts, beside the exact answer.

The model is ``blood_pre ~ PM25 + age + sex + cbmi``. Published values are EUCAIM's, of its three sites
(EUCAIM/demo_ml_data); they are shown where its data is, and nothing is compared with them elsewhere.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fedproc.cli.follow import follow
from fedproc.client.api import Client
from fedproc.client.results import fetch_results
from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView
from fedproc.demo.clinical import FOLDER, GIVEN
from fedproc.demo.configuration import AGGREGATOR, DATA_HOSTS

FORMULA = "blood_pre ~ PM25 + age + sex + cbmi"
TERMS = ("Intercept", "PM25", "age", "sex[T.male]", "cbmi")
_BARS = "▁▂▃▄▅▆▇█"
_CURVE = 40
_WIDTH = 112
"""columns of the table, whatever the terminal has: a line that is cut says nothing"""


@dataclass(frozen=True)
class Trial:
    """One way to the model: a tool with its settings. ``published`` are EUCAIM's values by :data:`TERMS`, if any."""

    platform: str
    tool: str
    why: str
    parameters: Mapping[str, Any]
    published: Sequence[float] | None = None
    digits: int = 4
    """of the published values, behind the point"""


TRIALS = (
    Trial(
        "exact sums", "linear-regression", "one round of sums of products; nothing is trained", {},
        (74.49775, 37.75120, 0.15751, 0.28270, -0.01247), 5,
    ),
    Trial(
        "Substra's SDK", "substra-clinical",
        "SubstraFL's plan with its executor replaced, no Substra network; each site fits alone, one average by rows",
        {"rounds": 1}, (75.0186, 41.8923, -1.2791, 0.2328, 0.0283),
    ),
    Trial("Flower, 1 step", "flower-clinical", "FedAvg of one gradient step a round: descent on all rows together",
          {"rounds": 30, "local_steps": 1, "learning_rate": 0.8}),
    Trial("Flower, 50 steps", "flower-clinical", "FedAvg of 50 steps a round: each site goes towards its own optimum",
          {"rounds": 10, "local_steps": 50, "learning_rate": 0.1}),
)  # fmt: skip
STANDARDS = {
    "PM25": [1.1655, 0.037987],
    "sex[T.male]": [0.52336, 0.49945],
    "age": [4.2187, 0.15293],
    "cbmi": [16.213, 1.621],
}
"""mean and deviation, which Fed-BioMed's own demonstrator has as fixed numbers (its 0.52336 is the share of females)"""
WHERE_OFFERED = (
    Trial("Fed-BioMed", "fedbiomed-clinical", "its researcher and nodes: 500 steps of 5 rows a round, averaged by rows",
          {"rounds": 20, "updates": 500, "batch": 5, "learning_rate": 0.005, "standards": STANDARDS}),
)  # fmt: skip
"""of tools that need an image, which a federation offers if it was asked to (FEDBIOMED=1)"""
TOOLS = frozenset(trial.tool for trial in (*TRIALS, *WHERE_OFFERED))
"""what it runs"""


@dataclass(frozen=True)
class Trained:
    """What a trial gave: coefficients by term, rounds, seconds, and the bytes that left each host."""

    trial: Trial
    coefficients: Mapping[str, float]
    rounds: int
    seconds: float
    sent: Mapping[str, int]


def run(client: Client, results: Path, console: Console) -> list[Trained]:
    """Run every trial, show how each goes and, at the end, all in a table; files go below ``results``.

    Raises :class:`FedprocError` if one does not succeed, or gives something else than EUCAIM's published value.
    """
    given = _is_given(client)
    what = "EUCAIM's own tables" if given else "a SYNTHETIC table at each host (DATA=folder takes EUCAIM's)"
    console.print(f"\n[bold]The demonstrator's clinical model[/], {FORMULA}, on {what}", highlight=False)
    outcomes = [_trial(client, trial, results, console) for trial in (*TRIALS, *_offered(client))]
    console.print()
    console.print(table(outcomes, given=given), soft_wrap=True, highlight=False, markup=False)
    _check(outcomes, given=given)
    if given:
        console.print("[green]exact sums and Substra's SDK give EUCAIM's published values to all their digits[/]")
    return outcomes


def _offered(client: Client) -> list[Trial]:
    offered = {tool.id for tool in client.tools()}
    return [trial for trial in WHERE_OFFERED if trial.tool in offered]


def _is_given(client: Client) -> bool:
    """Whether all hosts offer EUCAIM's tables. Raises :class:`UnavailableError` if one offers no clinical ones."""
    texts = []
    for host in DATA_HOSTS:
        try:
            texts.append(client.dataset(f"{host}:{FOLDER}").description or "")
        except FedprocError as error:
            raise UnavailableError(f"{host} does not offer a dataset {FOLDER}: {error.message}") from error
    return all(text.startswith(GIVEN) for text in texts)


def _trial(client: Client, trial: Trial, results: Path, console: Console) -> Trained:
    console.print(f"\n[bold]{trial.platform}[/] ({trial.tool}): {trial.why}", highlight=False)
    parameters = {"formula": FORMULA, "missing": "leave_out", **trial.parameters}
    ended, result = experiment(client, trial.tool, FOLDER, parameters, results / _folder_of(trial.platform), console)
    _show_curve(result, console)
    return Trained(trial, _coefficients(result), len(result.get("rounds", [1])), seconds(ended), sent(client, ended))


def experiment(
    client: Client, tool: str, dataset: str, parameters: Mapping[str, Any], folder: Path, console: Console
) -> tuple[ExperimentView, dict[str, Any]]:
    """Run a tool on one dataset of each hospital, show how it goes, and fetch what it gave to ``folder``.

    Returns how it ended and its ``result.json``; raises :class:`FedprocError` if it does not succeed.
    """
    datasets = [f"{host}:{dataset}" for host in DATA_HOSTS]
    request = ExperimentRequest(tool=tool, datasets=datasets, parameters=dict(parameters), label="demonstrator")
    started = client.run(request)
    state = follow(client.events(started.id), console)
    ended = client.experiment(started.id)
    if state != "succeeded":
        errors = [f"{job.task}@{job.host}: {job.reason or job.state}" for job in ended.jobs]
        raise FedprocError(f"experiment {ended.id} ended {state}: " + "; ".join(errors))
    fetch_results(client, ended.id, folder)
    return ended, json.loads((folder / AGGREGATOR / "result.json").read_bytes())


def _folder_of(platform: str) -> str:
    return platform.replace(" ", "-").replace(",", "").replace("'", "")


def _show_curve(result: dict[str, Any], console: Console) -> None:
    losses = [entry["loss"] for entry in result.get("rounds", []) if "loss" in entry]
    if losses:
        console.print(f"   mean squared error {losses[0]:.2f} {curve(losses)} {losses[-1]:.2f}", highlight=False)


def curve(values: Sequence[float]) -> str:
    """The values as bars, at most :data:`_CURVE` of them, the largest highest."""
    step = max(1, -(-len(values) // _CURVE))
    shown, low = values[::step], min(values)
    spread = (max(values) - low) or 1.0
    return "".join(_BARS[round((value - low) / spread * (len(_BARS) - 1))] for value in shown)


def _coefficients(result: dict[str, Any]) -> dict[str, float]:
    found = result["coefficients"] if "coefficients" in result else result["model"]["coefficients"]
    return {name: value["estimate"] if isinstance(value, dict) else value for name, value in found.items()}


def seconds(experiment: ExperimentView) -> float:
    """From submission to end."""
    return (experiment.ended - experiment.created).total_seconds() if experiment.ended else 0.0


def sent(client: Client, experiment: ExperimentView) -> dict[str, int]:
    """By host: what went over its declared connections, and the outputs that it released."""
    found: Counter[str] = Counter(dict.fromkeys((*DATA_HOSTS, AGGREGATOR), 0))
    for job in experiment.jobs:
        found[job.host] += sum(use.sent for use in job.connections)
    for file in client.results(experiment.id):
        found[file.host or ""] += file.size or 0
    return dict(found)


def table(outcomes: Sequence[Trained], *, given: bool) -> str:
    """All in one table: what came out, what is published of EUCAIM's data, the distance to the pooled fit.

    At the right: seconds from submission to end, and what left each hospital.
    """
    made = Table(box=None, pad_edge=False)
    for name in ("", "rounds", *TERMS, "s", *(f"kB {host}" for host in DATA_HOSTS)):
        made.add_column(name, justify="right" if name else "left", no_wrap=True, overflow="fold")
    for outcome in outcomes:
        trial = outcome.trial
        values = [f"{outcome.coefficients[term]:.{trial.digits}f}" for term in TERMS]
        kilobytes = [f"{outcome.sent[host] / 1000:.1f}" for host in DATA_HOSTS]
        made.add_row(trial.platform, str(outcome.rounds), *values, f"{outcome.seconds:.0f}", *kilobytes)
        if given and trial.published:
            made.add_row("  published", "", *[f"{value:.{trial.digits}f}" for value in trial.published])
        if outcome is not outcomes[0]:
            made.add_row("  beside exact sums", "", *_distances(outcome, outcomes[0]))
    text = io.StringIO()
    Console(file=text, width=_WIDTH, color_system=None).print(made)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _distances(outcome: Trained, exact: Trained) -> list[str]:
    return [f"{outcome.coefficients[term] - exact.coefficients[term]:+.4f}" for term in TERMS]


def _check(outcomes: Sequence[Trained], *, given: bool) -> None:
    """Where the data is EUCAIM's, so must be the values."""
    for outcome in outcomes if given else ():
        trial = outcome.trial
        if trial.published is None:
            continue
        found = [round(outcome.coefficients[term], trial.digits) for term in TERMS]
        if found != list(trial.published):
            raise FedprocError(f"{trial.platform}: {found} is not what is published, {list(trial.published)}")
