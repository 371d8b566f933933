"""``python -m fedproc.site.executors.runner --dir DIR``"""

from __future__ import annotations

import argparse
import asyncio
import grp
import os
import resource
import signal
from pathlib import Path

from fedproc.site.executors.runner.children import reap_left
from fedproc.site.executors.runner.server import Runner
from fedproc.site.executors.runner.uid_pool import UidPool


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM; then end the jobs that still run."""
    parser = argparse.ArgumentParser(prog="fedproc runner", description="starts and watches the sandbox's jobs")
    parser.add_argument("--dir", type=Path, required=True, help="folder of its socket and records")
    parser.add_argument("--uids", type=_range, default=(61000, 64999), help="FIRST-LAST user id of jobs (when root)")
    parser.add_argument("--data-group", type=int, action="append", default=[], help="group that may read datasets")
    add = parser.add_argument
    add(
        "--bounds",
        dest="path_policy",
        type=Path,
        help="TOML: folders that may be shown to jobs (show), or written by them (write)",
    )
    add("--askers", dest="client_group", help="group that may ask the runner, besides root")
    given = parser.parse_args(arguments)
    runner = Runner(
        given.dir,
        uids=UidPool(*given.uids),
        groups=given.data_group,
        path_policy=given.path_policy,
        client_group=grp.getgrnam(given.client_group).gr_gid if given.client_group else None,
    )
    asyncio.run(_serve(runner))
    return 0


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not 0 < int(first) <= int(last):
        raise ValueError(text)
    return int(first), int(last)


async def _serve(runner: Runner) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, reap_left)
    os.umask(0o022)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a job takes about ten
    await runner.serve(ended)


if __name__ == "__main__":
    raise SystemExit(main())
