"""What is wrong with the images of several sites: the two tasks of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used. The last line of standard error says
why, and nothing of any person.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from imaging.program import answers, read_object, run_task, write_object

SCHEMA_VERSION = 1
LEAST = 10
"""persons, unless ``min_cell`` says otherwise"""


def main(arguments: list[str] | None = None) -> int:
    """Run one task; returns the exit code."""
    options = _parser().parse_args(arguments)
    return run_task("dicom-quality", options, options.run)


def _local(options: argparse.Namespace) -> None:
    from series import look
    from site_answer import quality_of

    given = read_object(options.parameters, "parameters")
    found = look(options.datasets, given.get("pixels_of_series", 1))
    answer = quality_of(found, given.get("min_cell", LEAST))
    write_object(options.output / "quality.json", {"schema_version": SCHEMA_VERSION, "host": options.host, **answer})
    print(f"{options.host}: {answer['series']} series of {answer['persons']} persons")


def _combine(options: argparse.Namespace) -> None:
    from together import result_of

    given = read_object(options.parameters, "parameters")
    result = result_of(answers(options.sites, "quality.json"), given.get("min_cell", LEAST))
    write_object(options.output / "result.json", {"schema_version": SCHEMA_VERSION, **result})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    site = tasks.add_parser("local", help="at a site: look at its images")
    site.add_argument("--datasets", type=Path, required=True, help="folder with one folder per dataset")
    site.add_argument("--host", required=True)
    pooled = tasks.add_parser("combine", help="at the aggregator: add what the sites say")
    pooled.add_argument("--sites", type=Path, required=True, help="folder with one folder per host")
    for task, run in ((site, _local), (pooled, _combine)):
        task.set_defaults(run=run)
        task.add_argument("--parameters", type=Path, required=True)
        task.add_argument("--output", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
