"""The task ``combine``: the sites' sums become the regression over all persons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from fit import Fit, least_squares
from formulaic.errors import FormulaicError
from regression.answers import Answer, same
from regression.design import term_names
from regression.jsonfile import hosts_with_answers, read_object, write_object
from regression.persons import check_pooled
from regression.rows import Rows, read_rows
from request import Request
from sums import Sums

METHOD = (
    "ordinary least squares over all persons of all hosts, exact from sums of products; p-values by Student's t and F "
    "with residual_df degrees of freedom"
)
MOST_COLUMNS = 1000
KEYS = ("dataset", "columns", "n", "rows", "smallest_group", "terms", "pairs")


@dataclass(frozen=True)
class Told:
    """One host's checked answer."""

    host: str
    dataset: str
    version: str
    columns: Any
    sums: Sums
    rows: Rows


def run(sites: Path, hosts: Path, request: Request, output: Path) -> None:
    """Write ``result.json`` into ``output``.

    ``sites`` holds one folder per host with its ``sums.json``; ``hosts`` is the experiment's list of hosts by task.
    Raises Fault if a host is missing, one too many is there, or an answer cannot be used.
    """
    told = [_read(sites / host / "sums.json", host, request) for host in hosts_with_answers(sites, hosts)]
    columns = same([(entry.host, entry.columns) for entry in told], "types, units or categories of the columns")
    terms = term_names(request.formula, columns)
    sums = reduce(Sums.__add__, (entry.sums for entry in told))
    check_pooled(len(terms) + request.formula.intercept, sums.n)
    fit = least_squares(sums, terms, intercept=request.formula.intercept)
    write_object(output / "result.json", _result(told, request, sums, fit))
    print(f"{len(told)} sites, {sums.n} persons, R squared {fit.r_squared:.4f}")


def _read(path: Path, host: str, request: Request) -> Told:
    answer = Answer(host, read_object(path, f"answer of {host}"))
    answer.check(KEYS, schema_version=2, host=host, request=request.as_json())
    dataset = answer.part("dataset")
    dataset.check(("id", "version"))
    answer.persons("smallest_group", request.min_cell)
    columns = answer.objects("columns", MOST_COLUMNS)
    sums = Sums.read(answer, len(_terms(answer, columns, request)) + 1, request.min_cell)
    return Told(
        host=host,
        dataset=dataset.text("id"),
        version=dataset.text("version"),
        columns=columns,
        sums=sums,
        rows=read_rows(answer, sums.n, request.min_cell),
    )


def _terms(answer: Answer, columns: Sequence[dict[str, Any]], request: Request) -> tuple[str, ...]:
    try:
        return term_names(request.formula, columns)
    except (LookupError, TypeError, ValueError, FormulaicError) as fault:
        raise answer.wrong("columns are not those of the formula") from fault


def _result(told: Sequence[Told], request: Request, sums: Sums, fit: Fit) -> dict[str, Any]:
    return {
        "schema_version": 2,
        "status": "ok",
        "formula": request.formula.given,
        "method": METHOD,
        "hosts": [
            {"host": entry.host, "dataset": entry.dataset, "version": entry.version, "n": entry.sums.n}
            for entry in told
        ],
        "rows": [entry.rows.told(entry.host, entry.dataset, entry.version) for entry in told],
        "n": sums.n,
        **asdict(fit),
    }
