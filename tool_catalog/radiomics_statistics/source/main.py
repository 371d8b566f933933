"""First-order and shape features of lesions at several sites: the two tasks of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used. The last line of standard error says
why, and nothing of any person.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from imaging.program import answers, run_task, write_object
from request import read_request

SCHEMA_VERSION = 1


def main(arguments: list[str] | None = None) -> int:
    """Run one task; returns the exit code."""
    options = _parser().parse_args(arguments)
    return run_task("radiomics-statistics", options, options.run)


def _local(options: argparse.Namespace) -> None:
    from images import read_folder
    from lesions import measure
    from site_answer import statistics_of

    request = read_request(options.parameters)
    answer = statistics_of(measure(read_folder(options.datasets), request.modality, request.segment), request)
    write_object(options.output / "features.json", {"schema_version": SCHEMA_VERSION, "host": options.host, **answer})
    print(f"{options.host}: {answer['lesions']} lesions of {answer['persons']} persons")


def _combine(options: argparse.Namespace) -> None:
    from together import result_of

    result = result_of(answers(options.sites, "features.json"), read_request(options.parameters))
    write_object(options.output / "result.json", {"schema_version": SCHEMA_VERSION, **result})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    site = tasks.add_parser("local", help="at a site: measure its lesions")
    site.add_argument("--datasets", type=Path, required=True, help="folder with one folder per dataset")
    site.add_argument("--host", required=True)
    pooled = tasks.add_parser("combine", help="at the aggregator: combine what the sites say")
    pooled.add_argument("--sites", type=Path, required=True, help="folder with one folder per host")
    for task, run in ((site, _local), (pooled, _combine)):
        task.set_defaults(run=run)
        task.add_argument("--parameters", type=Path, required=True)
        task.add_argument("--output", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
