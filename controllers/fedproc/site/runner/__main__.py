"""``python -m fedproc.site.runner --dir DIR``"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from pathlib import Path

from fedproc.site.runner.server import Runner


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM; then end the jobs that still run."""
    parser = argparse.ArgumentParser(prog="fedproc runner", description="starts and watches the sandbox's jobs")
    parser.add_argument("--dir", type=Path, required=True, help="folder of its socket and records")
    parser.add_argument("--uid-base", type=int, default=61000, help="first user id for jobs (when run as root)")
    parser.add_argument("--data-group", type=int, action="append", default=[], help="group that may read datasets")
    given = parser.parse_args(arguments)
    asyncio.run(_serve(Runner(given.dir, uid_base=given.uid_base, groups=given.data_group)))
    return 0


async def _serve(runner: Runner) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    os.umask(0o022)
    await runner.serve(ended)


if __name__ == "__main__":
    raise SystemExit(main())
