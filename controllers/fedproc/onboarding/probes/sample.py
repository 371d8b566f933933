"""The child process of :mod:`fedproc.onboarding.watch`: measures GPUs and the disks of its arguments, prints JSON."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from fedproc.onboarding.model.codec import encode
from fedproc.onboarding.model.facts import Disk, GpuFacts
from fedproc.onboarding.probes import disk, gpu
from fedproc.onboarding.probes.parallel import Task, run_all

SECONDS = 15.0


def take(folders: list[str]) -> dict[str, Any]:
    """``gpu`` and, by path, ``disks``; each a record or an ``unknown``."""
    tasks = [Task("gpu", gpu.probe, GpuFacts, SECONDS)]
    tasks += [Task(f"disk {folder}", partial(disk.disk, Path(folder)), Disk, SECONDS) for folder in folders]
    found = run_all(tasks)
    return {"gpu": encode(found["gpu"]), "disks": {folder: encode(found[f"disk {folder}"]) for folder in folders}}


if __name__ == "__main__":
    print(json.dumps(take(sys.argv[1:])))
