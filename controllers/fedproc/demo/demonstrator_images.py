"""``make demonstrator``'s second half: its network over DICOM by each platform, beside its training on all images."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fedproc.client.api import Client
from fedproc.common.errors import FedprocError
from fedproc.demo.configuration import AGGREGATOR, DATA_HOSTS
from fedproc.demo.demonstrator import curve, experiment, seconds, sent
from fedproc.demo.imaging import FOLDER

SOURCE = Path(__file__).parents[3] / "tool_catalog" / "flower_image" / "source"
SIZE = 32
"""pixels of a patch's side"""
POOLED = {"size": SIZE, "rounds": 5, "local_epochs": 2}
"""the training on all images in one place"""
DISTANCE = 0.15
"""the farthest that a held-out accuracy may be from that of the training on all images in one place"""
_WIDTH = 112


@dataclass(frozen=True)
class ImageTrial:
    """One platform's training of the network, with its settings."""

    platform: str
    tool: str
    why: str
    parameters: Mapping[str, Any]


TRIALS = (
    ImageTrial("Flower", "flower-image", "FedAvg; each site trains two epochs a round", POOLED),
    ImageTrial(
        "Substra's SDK", "substra-image", "SubstraFL's plan, its demonstrator's settings: 20 updates of 32 a round",
        {"size": SIZE, "rounds": 5, "updates": 20, "batch": 32},
    ),
)  # fmt: skip
WHERE_OFFERED = "fedbiomed-image"
"""of a tool that needs an image, which a federation offers if it was asked to (FEDBIOMED=1)"""
TOOLS = frozenset({WHERE_OFFERED, *(trial.tool for trial in TRIALS)})
"""what it runs"""


@dataclass(frozen=True)
class TrainedNetwork:
    """What a trial gave: each round's measures, seconds, and the bytes that left each host."""

    trial: ImageTrial
    rounds: Sequence[Mapping[str, Any]]
    seconds: float
    sent: Mapping[str, int]


def run(client: Client, results: Path, data: Path | None, console: Console) -> list[TrainedNetwork]:
    """Train by each platform, and compare with the training on all images below ``data``, if it is given.

    ``data`` has them in ``HOST/synthetic-lesions``. Raises :class:`FedprocError` if a loss does not fall, or an
    accuracy is farther away than :data:`DISTANCE`.
    """
    console.print("\n[bold]The demonstrator's network on images[/]: is a (SYNTHETIC) lesion in a patch of CT or MR?")
    console.print(f"   patches of {SIZE} pixels; persons are held out", highlight=False)
    outcomes = [_trial(client, trial, results, console) for trial in TRIALS]
    all_images = pooled(data) if data is not None else None
    console.print()
    console.print(table(outcomes, all_images), soft_wrap=True, highlight=False, markup=False)
    check(outcomes, all_images)
    return outcomes


def _trial(client: Client, trial: ImageTrial, results: Path, console: Console) -> TrainedNetwork:
    console.print(f"\n[bold]{trial.platform}[/] ({trial.tool}): {trial.why}", highlight=False)
    ended, result = experiment(client, trial.tool, FOLDER, trial.parameters, results / f"{trial.tool}-images", console)
    losses = [entry["loss"] for entry in result["rounds"]]
    console.print(f"   loss {losses[0]:.3f} {curve(losses)} {losses[-1]:.3f}", highlight=False)
    return TrainedNetwork(trial, result["rounds"], seconds(ended), sent(client, ended))


def run_where_offered(client: Client, results: Path, data: Path | None, console: Console) -> dict[str, float] | None:
    """Train the same network by Fed-BioMed in a federation that offers its tool.

    Its hosts show the measures of each round's model, and tell none of them. Below ``data`` the demo measures the model
    on all hospitals' images itself, and returns that. Raises :class:`FedprocError` if its accuracy is too far away.
    """
    if WHERE_OFFERED not in {tool.id for tool in client.tools()}:
        return None
    console.print(f"\n[bold]Fed-BioMed[/] ({WHERE_OFFERED}): FedAvg, two epochs a round, PyTorch in each hospital")
    folder = results / "Fed-BioMed-images"
    ended, result = experiment(client, WHERE_OFFERED, FOLDER, POOLED, folder, console)
    changes, left = [entry["change"] for entry in result["rounds"]], sent(client, ended)
    kilobytes = ", ".join(f"{host} {left[host] / 1000:.0f}" for host in DATA_HOSTS)
    console.print(f"   the average moved the model by {changes[0]:.3f} {curve(changes)} {changes[-1]:.3f} in "
                  f"{len(changes)} rounds, {seconds(ended):.0f} s; kB that left: {kilobytes}",
                  highlight=False)  # fmt: skip
    if data is None:
        return None
    measured, all_images = pooled(data, folder / AGGREGATOR / "model.npz"), pooled(data)
    distance = _distance(measured, all_images)
    console.print(f"   its loss {measured['loss']:.3f}, held-out accuracy {measured['accuracy']:.3f}; "
                  f"{distance:.3f} from all images in one place", highlight=False)  # fmt: skip
    if distance > DISTANCE:
        raise FedprocError(f"Fed-BioMed: the accuracy is {distance:.3f} from all images', more than {DISTANCE}")
    return measured


@cache
def pooled(data: Path, model: Path | None = None) -> dict[str, float]:
    """Loss and held-out accuracy over the images of all hospitals in one place: of ``model``, or trained there."""
    folders = [str(data / host / FOLDER) for host in DATA_HOSTS]
    what = json.dumps({**POOLED, **({"model": str(model)} if model else {})})
    command = [sys.executable, "-m", "fedproc.demo.pooled_network", str(SOURCE), what, *folders]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise FedprocError(f"the training on all images failed: {ended.stderr.strip().splitlines()[-1:]}")
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def table(outcomes: Sequence[TrainedNetwork], all_images: Mapping[str, float] | None) -> str:
    """All in one table: loss over patches trained on, accuracy over held-out ones, its distance to the pooled one.

    At the right: seconds from submission to end, and what left each hospital.
    """
    made = Table(box=None, pad_edge=False)
    names = ("", "rounds", "loss", "accuracy", "of patches", "apart", "s", *(f"kB {host}" for host in DATA_HOSTS))
    for name in names:
        made.add_column(name, justify="right" if name else "left", no_wrap=True, overflow="fold")
    for outcome in outcomes:
        last = outcome.rounds[-1]
        apart = "" if all_images is None else f"{_distance(last, all_images):.3f}"
        kilobytes = [f"{outcome.sent[host] / 1000:.0f}" for host in DATA_HOSTS]
        values = [f"{last['loss']:.3f}", f"{last['accuracy']:.3f}", str(last["test_rows"])]
        made.add_row(
            outcome.trial.platform, str(len(outcome.rounds)), *values, apart, f"{outcome.seconds:.0f}", *kilobytes
        )
    if all_images is not None:
        made.add_row("all images in one place", "", f"{all_images['loss']:.3f}", f"{all_images['accuracy']:.3f}")
    text = io.StringIO()
    Console(file=text, width=_WIDTH, color_system=None).print(made)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def check(outcomes: Sequence[TrainedNetwork], all_images: Mapping[str, float] | None) -> None:
    """Raises :class:`FedprocError` that names the platform whose network did not learn as far as stated."""
    for outcome in outcomes:
        first, last = outcome.rounds[0], outcome.rounds[-1]
        if len(outcome.rounds) > 1 and last["loss"] >= first["loss"]:
            raise FedprocError(
                f"{outcome.trial.platform}: the loss does not fall: {first['loss']:.4f}, then {last['loss']:.4f}"
            )
        if all_images is not None and (distance := _distance(last, all_images)) > DISTANCE:
            raise FedprocError(
                f"{outcome.trial.platform}: the accuracy is {distance:.3f} from all images', more than {DISTANCE}"
            )


def _distance(last: Mapping[str, Any], all_images: Mapping[str, float]) -> float:
    return float(abs(last["accuracy"] - all_images["accuracy"]))
