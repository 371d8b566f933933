"""``python -m tests.resilience.soak [--jobs N] [--minutes N] [--seed N]``: faults at random, while jobs flow.

Exit codes: 0 nothing was lost, doubled, stuck or wrong, 1 something was (the logs are kept beside the results),
2 wrong usage.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.resilience.soak.count import Count, count
from tests.resilience.soak.faults import Faults
from tests.resilience.soak.flow import Flow
from tests.resilience.soak.kills import Kills
from tests.resilience.soak.memory import MemoryWatch
from tests.resilience.soak.report import write
from tests.support.running import ROOT, Running, federation

from fedproc.common.errors import UnavailableError
from fedproc.demo.polling import wait_until

TOOLS = Path(__file__).parents[1] / "tools"
_SAY_EVERY = 10.0
_SETTLE = 600.0
"""seconds that what is under way at the end has, faults being over"""
_CLEANED = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description="kills and other faults at random while jobs flow")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=180, help="no job is submitted after that many")
    parser.add_argument("--at-once", type=int, default=24, help="jobs under way")
    parser.add_argument("--pause", type=float, default=8, help="seconds between two kills, on average")
    parser.add_argument("--fault-pause", type=float, default=10, help="seconds between two acts of people, on average")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fedproc-soak-") as folder:
        Path(folder).chmod(0o755)
        with federation(Path(folder) / "federation", TOOLS) as running:
            found = _campaign(running, given)
            if not found.clean:
                shutil.copytree(running.folder / "log", given.out / "soak-log", dirs_exist_ok=True)
    return 0 if found.clean else 1


def _campaign(running: Running, given: argparse.Namespace) -> Count:
    flow = Flow(running, given.jobs, given.at_once, time.monotonic() + 60 * given.minutes, given.seed)
    kills = Kills(running, given.pause, given.seed)
    faults = Faults(running, flow, given.fault_pause, given.seed)
    memory = MemoryWatch(running, lambda: flow.ended)
    with memory, kills, faults:
        begun = time.monotonic()
        flow.start()
        while not flow.wait(_SAY_EVERY):
            print(_progress(flow, kills, faults, time.monotonic() - begun), flush=True)
        seconds = time.monotonic() - begun
    try:
        wait_until(running.works, 180, "the federation does not work again after the last kill")
        wait_until(lambda: not flow.given_up or not _open(running), _SETTLE, "what was given up does not end")
        wait_until(lambda: not any(map(running.leftovers, running.hosts)), _CLEANED, "hosts have not cleaned up")
        time.sleep(3)
    except UnavailableError as error:
        print(error.message, flush=True)
    found = count(running, flow, faults)
    table = write(given, found, flow, kills, faults, memory, seconds)
    print(f"\n{table}\nwritten to {given.out}/soak.md and soak.json")
    return found


def _open(running: Running) -> bool:
    return bool(running.researcher.experiments(state=["queued", "running"], limit=1).items)


def _progress(flow: Flow, kills: Kills, faults: Faults, seconds: float) -> str:
    rate = flow.ended / seconds
    left = f"about {(flow.wanted - flow.ended) / rate / 60:.0f} min left" if rate else "none has ended yet"
    return (
        f"{seconds:6.0f} s  {flow.ended:,} of {flow.wanted:,} jobs ended, {flow.under_way} under way, {rate:.1f}/s, "
        f"{left}; {kills.total} kills, {faults.total} acts"
    )


if __name__ == "__main__":
    sys.exit(main())
