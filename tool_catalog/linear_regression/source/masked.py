"""Sites' answers whose numbers their hosts masked: what they add up to, and nothing of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from formulaic.errors import FormulaicError
from pooled import METHOD, MOST_COLUMNS, Pooled
from regression.answers import Answer
from regression.design import term_names
from regression.faults import Fault
from regression.jsonfile import read_object
from request import Request
from secure_sums.adding import add_up, own_parts
from secure_sums.faults import NoSumError
from sums import Sums

OWN = ("host", "dataset")
"""in which answers differ from host to host"""
KEYS = ("columns", "n", "smallest_group", "terms", "pairs")
MASKED = "; secure sums: each host masked what it sent, and only sums over all hosts were read"


def of_masked(files: Mapping[str, Path], request: Request) -> Pooled:
    """The sums of all hosts, by the file of each. Raises Fault naming the hosts whose answers cannot be added up."""
    answers = {host: read_object(path, f"answer of {host}") for host, path in files.items()}
    try:
        total = add_up(answers, OWN)
        everyone = Answer("all hosts", total)
        everyone.check(KEYS, schema_version=3, request=request.as_json())
        terms = _terms(everyone, request)
        sums = Sums.of_totals(total, len(terms) + 1)
    except NoSumError as fault:
        raise Fault(str(fault)) from fault
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as fault:
        raise everyone.wrong("what it adds up to are no sums of products") from fault
    hosts = [_host(host, answer) for host, answer in answers.items()]
    return Pooled(terms=terms, sums=sums, hosts=hosts, rows=[], method=METHOD + MASKED)


def _terms(everyone: Answer, request: Request) -> tuple[str, ...]:
    try:
        return term_names(request.formula, everyone.objects("columns", MOST_COLUMNS))
    except (LookupError, TypeError, ValueError, FormulaicError) as fault:
        raise everyone.wrong("columns are not those of the formula") from fault


def _host(host: str, answer: dict[str, Any]) -> dict[str, Any]:
    own = Answer(host, own_parts(answer, OWN))
    own.check(OWN, host=host)
    dataset = own.part("dataset")
    return {"host": host, "dataset": dataset.text("id"), "version": dataset.text("version")}
