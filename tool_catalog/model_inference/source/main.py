"""A model predicts at one site and is measured there: the one task of this tool.

Exit codes: 0 done; 1 the output cannot be written; 2 the input cannot be used. The last line of standard error says
why, and nothing of any person.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from imaging.program import run_task, write_object
from request import read_request

SCHEMA_VERSION = 3


def main(arguments: list[str] | None = None) -> int:
    """Run the task; returns the exit code."""
    options = _parser().parse_args(arguments)
    return run_task("model-inference", options, options.run)


def _predict(options: argparse.Namespace) -> None:
    from models import load
    from site_answer import metrics_of

    request = read_request(options.parameters)
    model = load(options.model, request)
    if request.kind == "table":
        from records import read_table

        records = read_table(options.datasets, request, model.features)
    else:
        from patches import read_lesions

        records = read_lesions(options.datasets, request.size)
    told = metrics_of(model, records, request)
    write_object(options.output / "metrics.json", {"schema_version": SCHEMA_VERSION, "host": options.host, **told})
    print(f"{options.host}: predicted for {told['persons']} persons")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    predict = tasks.add_parser("predict", help="at a site: predict and measure")
    predict.add_argument("--model", type=Path, required=True, help="folder with the model's one file")
    predict.add_argument("--datasets", type=Path, required=True, help="folder with one folder per dataset")
    predict.add_argument("--host", required=True)
    predict.add_argument("--parameters", type=Path, required=True)
    predict.add_argument("--output", type=Path, required=True)
    predict.set_defaults(run=_predict)
    return parser


if __name__ == "__main__":
    sys.exit(main())
