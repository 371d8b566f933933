"""What the demo shows: experiments by a researcher, through the public API, and what they prove.

The one that a person at a site decides about is in :mod:`fedproc.demo.reviewing`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from fedproc.cli.follow import follow
from fedproc.client.api import Client
from fedproc.client.results import fetch_results
from fedproc.common.errors import FedprocError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.demo.configuration import AGGREGATOR, DATA_HOSTS
from fedproc.demo.data import COHORT_PARAMETERS, YEAR, differences, exact_distance
from fedproc.demo.imaging import FOLDER, pooled_images

TOLERANCE = 1e-9
TOOLS = frozenset({"cohort-statistics", "dicom-summary", "flower-logistic"})
"""what it runs"""


def run(client: Client, results: Path, console: Console) -> None:
    """Run the two experiments over tables and show what came out; their files go below ``results``.

    Raises :class:`FedprocError` if one does not succeed, or says something else than the pooled data.
    """
    _cohort_statistics(client, results / "cohort-statistics", console)
    _flower_logistic(client, results / "flower-logistic", console)


def run_imaging(client: Client, results: Path, console: Console) -> None:
    """Run the experiment over images, where the hosts offer them. Raises as :func:`run` does."""
    console.print("\n[bold]3. dicom-summary[/]: what images there are, over CT and MR with synthetic lesions;")
    console.print("   each site reads its files by their content and sends counts, EUCAIM adds them")
    request = ExperimentRequest(
        tool="dicom-summary", datasets=[f"{host}:{FOLDER}" for host in DATA_HOSTS], parameters={}, label="demo"
    )
    folder = _run(client, request, results / "dicom-summary", console)
    result = json.loads((folder / AGGREGATOR / "result.json").read_bytes())["together"]
    console.print(f"   {result['persons']} persons, {result['studies']} studies, {result['series']} series")
    for name in ("modality", "body_part", "sex", "age"):
        counts = "   ".join(f"{count['value']} {count['persons']}" for count in result[name])
        console.print(f"   {name:<12} {counts}", highlight=False)
    expected = pooled_images()
    found = {name: {count["value"]: count["persons"] for count in result[name]} for name in expected}
    if found != expected:
        raise FedprocError(f"the federated counts differ from those of all images in one place: {found}, {expected}")
    console.print(
        "   [green]equal to the counts of all images in one place[/], by modality, body part, maker, sex and age"
    )


def _cohort_statistics(client: Client, folder: Path, console: Console) -> None:
    hosts = ", ".join(DATA_HOSTS)
    console.print(f"\n[bold]1. cohort-statistics[/]: summary statistics and a survival curve over {hosts};")
    console.print(f"   each sends a table of events on a yearly grid, {AGGREGATOR} combines them")
    request = ExperimentRequest(
        tool="cohort-statistics",
        datasets=[f"{host}:breast-cohort" for host in DATA_HOSTS],
        parameters=dict(COHORT_PARAMETERS),
        label="demo",
    )
    result = json.loads((_run(client, request, folder, console) / AGGREGATOR / "result.json").read_bytes())
    _show_statistics(result, console)
    _compare(result, console)


def _show_statistics(result: dict[str, Any], console: Console) -> None:
    for variable in result["variables"]:
        if variable["kind"] == "number":
            console.print(f"   {variable['name']:<20} mean {variable['mean']:8.3f}   sd {variable['sd']:8.3f}")
        else:
            counts = "   ".join(f"{'/'.join(group['values'])} {group['count']}" for group in variable["counts"])
            console.print(f"   {variable['name']:<20} {counts}")
    for time, point in zip(result["grid"], result["curve"], strict=True):
        bar = "█" * round(30 * point["survival"])
        console.print(
            f"   year {time / YEAR:.0f}   without recurrence {point['survival']:.3f}   {bar}", highlight=False
        )


def _compare(result: dict[str, Any], console: Console) -> None:
    console.print("   the same from all rows in one place, which only this demo has; largest difference:")
    found = differences(result)
    for quantity, difference in found.items():
        console.print(f"     {quantity:<26} {difference:.1e}")
    largest = max(found.values())
    if largest > TOLERANCE:
        raise FedprocError(f"the federated result differs from the pooled one by {largest:.1e}, more than {TOLERANCE}")
    console.print(f"   [green]equal to the pooled result[/]: no difference is above {TOLERANCE:.0e}")
    far, stated, middle = exact_distance(result), result["largest_distance_to_exact"], result["median_survival"]
    console.print(
        f"   {far:.3f} from the Kaplan-Meier estimate of the exact times, which never leave the sites (by the result, "
        f"at most {stated:.3f}); median {middle['estimate']:.0f} d",
        highlight=False,
    )


def _flower_logistic(client: Client, folder: Path, console: Console) -> None:
    console.print("\n[bold]2. flower-logistic[/]: a Flower training on the Wisconsin breast cancer data;")
    console.print(f"   the server runs at {AGGREGATOR}, a client in each hospital, which only dials out")
    request = ExperimentRequest(
        tool="flower-logistic",
        datasets=[f"{host}:wisconsin" for host in DATA_HOSTS],
        parameters={"rounds": 8},
        label="demo",
    )
    result = json.loads((_run(client, request, folder, console) / AGGREGATOR / "result.json").read_bytes())
    last = result["rounds"][-1]
    console.print(
        f"   [green]trained[/]: loss {result['rounds'][0]['loss']:.4f} → {last['loss']:.4f} in {last['round']} rounds, "
        f"held-out accuracy {last['accuracy']:.1%}",
        highlight=False,
    )


def _run(client: Client, request: ExperimentRequest, folder: Path, console: Console) -> Path:
    """Run it, show how it goes, and fetch what it gave to ``folder``."""
    experiment = client.run(request)
    state = follow(client.events(experiment.id), console)
    if state != "succeeded":
        errors = [f"{job.task}@{job.host}: {job.reason or job.state}" for job in client.experiment(experiment.id).jobs]
        raise FedprocError(f"experiment {experiment.id} ended {state}: " + "; ".join(errors))
    fetch_results(client, experiment.id, folder)
    return folder
