"""The task ``combine``: the sites' sums become the regression over all persons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from fit import Fit, least_squares
from formulaic.errors import FormulaicError
from masked import of_masked
from pooled import METHOD, MOST_COLUMNS, Pooled
from regression.answers import Answer, same
from regression.design import term_names
from regression.jsonfile import hosts_with_answers, read_object, write_object
from regression.persons import check_pooled
from regression.rows import Rows, read_rows
from request import Request
from sums import Sums

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
    named = hosts_with_answers(sites, hosts)
    files = {host: sites / host / "sums.json" for host in named}
    pooled = of_masked(files, request) if request.secure_sums else _of_plain(files, request)
    check_pooled(len(pooled.terms) + request.formula.intercept, pooled.sums.n)
    fit = least_squares(pooled.sums, pooled.terms, intercept=request.formula.intercept)
    write_object(output / "result.json", _result(pooled, request, fit))
    print(f"{len(named)} sites, {pooled.sums.n} persons, R squared {fit.r_squared:.4f}")


def _of_plain(files: Mapping[str, Path], request: Request) -> Pooled:
    told = [_read(path, host, request) for host, path in files.items()]
    columns = same([(entry.host, entry.columns) for entry in told], "types, units or categories of the columns")
    return Pooled(
        terms=term_names(request.formula, columns),
        sums=reduce(Sums.__add__, (entry.sums for entry in told)),
        hosts=[{"host": e.host, "dataset": e.dataset, "version": e.version, "n": e.sums.n} for e in told],
        rows=[entry.rows.told(entry.host, entry.dataset, entry.version) for entry in told],
        method=METHOD,
    )


def _read(path: Path, host: str, request: Request) -> Told:
    answer = Answer(host, read_object(path, f"answer of {host}"))
    answer.check(KEYS, schema_version=3, host=host, request=request.as_json())
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


def _result(pooled: Pooled, request: Request, fit: Fit) -> dict[str, Any]:
    return {
        "schema_version": 2,
        "status": "ok",
        "formula": request.formula.given,
        "method": pooled.method,
        "hosts": pooled.hosts,
        "rows": pooled.rows,
        "n": pooled.sums.n,
        **asdict(fit),
    }
