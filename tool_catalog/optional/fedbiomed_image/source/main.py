"""A network trained with Fed-BioMed over hosts that keep their images: the two tasks of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used, or Fed-BioMed cannot run here; 3 the
training failed because a host, a reply or the connection was lost. The last lines of standard error say why.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from biomed.environment import check, leave
from regression.faults import Fault
from regression.jsonfile import expected_hosts
from regression.program import run_task
from request import read_request

TOOL = "fedbiomed-image"


def main(arguments: list[str] | None = None) -> int:
    """Run one task; returns the exit code."""
    options = _parser().parse_args(arguments)
    return run_task(TOOL, options, options.run)


def _client(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    check()

    from patches.faults import Fault as NoPatches
    from patches.images import read_site

    try:
        site = read_site(options.datasets, request.size, request.every, request.min_persons)
    except NoPatches as fault:
        raise Fault(str(fault)) from fault

    import worker  # after the data was checked: Fed-BioMed takes some seconds to load

    worker.run(options.server, options.host, site, request, options.metrics)


def _server(options: argparse.Namespace) -> None:
    request = read_request(options.parameters)
    hosts = expected_hosts(options.hosts, "client")
    check()

    import driver

    driver.run(options.name, options.port, hosts, request, options.output, options.metrics)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    site = tasks.add_parser("client", help="at a site: train on one dataset")
    site.add_argument("--datasets", type=Path, required=True, help="folder with one dataset's folder")
    site.add_argument("--host", required=True)
    site.add_argument("--server", required=True, help="host:port at which the researcher is found")
    centre = tasks.add_parser("server", help="at the aggregator: drive the training")
    centre.add_argument("--name", default="localhost", help="by which hosts dial this task: its certificate has it")
    centre.add_argument("--port", type=int, required=True)
    centre.add_argument("--hosts", type=Path, required=True, help="JSON file: hosts by task")
    centre.add_argument("--output", type=Path, required=True)
    for task, run in ((site, _client), (centre, _server)):
        task.add_argument("--parameters", type=Path, required=True)
        task.add_argument("--metrics", type=Path, required=True, help="file to which measures are appended")
        task.set_defaults(run=run)
    return parser


if __name__ == "__main__":
    leave(main())
