"""What images there are at several sites: the two tasks of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used. The last line of standard error says
why, and nothing of any person.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from counting import MEANING, CountingError, summary_of, together

SCHEMA_VERSION = 2


def main(arguments: list[str] | None = None) -> int:
    """Run one task; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options, json.loads(options.parameters.read_text()))
    except CountingError as error:
        print(f"dicom-summary {options.task}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"dicom-summary {options.task}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _local(options: argparse.Namespace, parameters: dict[str, Any]) -> None:
    from reading import series_below

    edges, least = parameters.get("age_edges", [40, 50, 60, 70, 80]), parameters.get("min_cell", 10)
    summary = summary_of(series_below(options.datasets), edges, least)
    _write(options.output / "summary.json", {"meaning": MEANING, "host": options.host, **summary})


def _combine(options: argparse.Namespace, _: dict[str, Any]) -> None:
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(options.sites.glob("*/summary.json"))}
    if not found:
        raise CountingError("no site has sent a summary")
    sites = {host: {name: part for name, part in sent.items() if name != "meaning"} for host, sent in found.items()}
    answer = {"status": "ok", "meaning": MEANING, "sites": sites, "together": together(found.values())}
    _write(options.output / "result.json", answer)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    site = tasks.add_parser("local", help="at a site: count its images")
    site.add_argument("--datasets", type=Path, required=True, help="folder with one folder per dataset")
    site.add_argument("--host", required=True)
    pooled = tasks.add_parser("combine", help="at the aggregator: add the sites' counts")
    pooled.add_argument("--sites", type=Path, required=True, help="folder with one folder per host")
    for task, run in ((site, _local), (pooled, _combine)):
        task.set_defaults(run=run)
        task.add_argument("--parameters", type=Path, required=True)
        task.add_argument("--output", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
