"""``make demonstrator``'s second half: its network over DICOM images, beside its training on all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from fedproc.client.api import Client
from fedproc.common.errors import FedprocError
from fedproc.demo.configuration import DATA_HOSTS
from fedproc.demo.demonstrator import curve, experiment, seconds, sent
from fedproc.demo.imaging import FOLDER

TOOL = "flower-image"
SOURCE = Path(__file__).parents[3] / "tool_catalog" / "flower_image" / "source"
PARAMETERS = {"size": 32, "rounds": 5, "local_epochs": 2}
DISTANCE = 0.15
"""the farthest that its held-out accuracy may be from that of the training on all images in one place"""


def run(client: Client, results: Path, data: Path | None, console: Console) -> dict[str, Any]:
    """Train, and compare with the training on all images below ``data`` (``HOST/synthetic-lesions``), if it is given.

    Returns the last round's measures. Raises :class:`FedprocError` if the loss does not fall, or the accuracy is
    farther away than :data:`DISTANCE`.
    """
    console.print("\n[bold]The demonstrator's network on images[/]: is a (SYNTHETIC) lesion in a patch of CT or MR?")
    console.print(f"   FedAvg by Flower ({TOOL}), patches of {PARAMETERS['size']} pixels; persons are held out")
    ended, result = experiment(client, TOOL, FOLDER, PARAMETERS, results / "Flower-images", console)
    rounds = result["rounds"]
    first, last = rounds[0], rounds[-1]
    left = sent(client, ended)
    kilobytes = ", ".join(f"{host} {left[host] / 1000:.0f}" for host in DATA_HOSTS)
    losses = [entry["loss"] for entry in rounds]
    console.print(f"   loss {first['loss']:.3f} {curve(losses)} {last['loss']:.3f} in {len(rounds)} rounds, "
                  f"{seconds(ended):.0f} s; kB that left: {kilobytes}", highlight=False)  # fmt: skip
    console.print(f"   held-out accuracy {last['accuracy']:.3f} of {last['test_rows']} patches", highlight=False)
    if len(rounds) > 1 and last["loss"] >= first["loss"]:
        raise FedprocError(f"the loss does not fall: {first['loss']:.4f}, then {last['loss']:.4f}")
    if data is not None:
        _compare(last, pooled(data), console)
    return dict(last)


def pooled(data: Path) -> dict[str, float]:
    """Loss and held-out accuracy of the same training on the images of all hospitals in one place."""
    folders = [str(data / host / FOLDER) for host in DATA_HOSTS]
    command = [sys.executable, "-m", "fedproc.demo.pooled_network", str(SOURCE), json.dumps(PARAMETERS), *folders]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise FedprocError(f"the training on all images failed: {ended.stderr.strip().splitlines()[-1:]}")
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def _compare(last: dict[str, Any], all_images: dict[str, float], console: Console) -> None:
    distance = abs(last["accuracy"] - all_images["accuracy"])
    console.print(
        f"   all images in one place, which only this demo has: loss {all_images['loss']:.3f}, accuracy "
        f"{all_images['accuracy']:.3f}; {distance:.3f} apart, at most {DISTANCE} is allowed",
        highlight=False,
    )
    if distance > DISTANCE:
        raise FedprocError(f"the accuracy is {distance:.3f} from that of all images, more than {DISTANCE}")
