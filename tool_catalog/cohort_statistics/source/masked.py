"""Sites' answers whose numbers their hosts masked, as one answer of all persons: what they add up to."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from answers import Answer, check_answer
from faults import Fault
from jsonfile import read_object
from request import Request
from secure_sums.adding import add_up, mean_and_squares, own_parts, persons
from secure_sums.faults import NoSumError

OWN = ("host", "dataset")
"""in which answers differ from host to host"""
EVERYONE = "all hosts"
COUNTS = frozenset({"at_risk", "events", "censored", "n", "missing", "count"})


def everyone(files: Mapping[str, Path], request: Request) -> tuple[Answer, list[dict[str, Any]]]:
    """One answer of all persons, by the file of each host, and which dataset each host used.

    Raises :class:`Fault` naming the hosts whose answers cannot be added up.
    """
    answers = {host: read_object(path, f"answer of {host}") for host, path in files.items()}
    try:
        total = add_up(answers, OWN)
        for variable in total["variables"]:
            _unfold(variable)
        whole = _counted(total) | {"host": EVERYONE, "dataset": {"id": "", "version": ""}}
    except NoSumError as fault:
        raise Fault(str(fault)) from fault
    except (LookupError, TypeError, AttributeError, ArithmeticError) as fault:
        raise Fault("the masked answers add up to nothing that was asked for; is the same version there?") from fault
    return check_answer(whole, EVERYONE, request), [_used(host, answer) for host, answer in answers.items()]


def _unfold(variable: dict[str, Any]) -> None:
    """Mean and squared deviations of all, from the sums that hosts mask in their place."""
    if "mean" in variable and variable["n"]:
        mean, squares = mean_and_squares(variable["n"], variable["mean"], variable["sum_of_squared_deviations"])
        variable.update(mean=float(mean), sum_of_squared_deviations=float(squares))


def _counted(node: Any, key: str = "") -> Any:
    """With counts as whole numbers. Raises NoSumError where masks do not cancel."""
    if isinstance(node, Fraction):
        if key not in COUNTS:
            raise TypeError(key)
        return persons(node)
    if isinstance(node, dict):
        return {name: _counted(value, name) for name, value in node.items()}
    return [_counted(value, key) for value in node] if isinstance(node, list) else node


def _used(host: str, answer: dict[str, Any]) -> dict[str, Any]:
    own = own_parts(answer, OWN)
    dataset = own.get("dataset")
    texts = [dataset.get(key) for key in ("id", "version")] if isinstance(dataset, dict) else []
    if own.get("host") != host or not texts or not all(isinstance(text, str) and len(text) <= 200 for text in texts):
        raise Fault(f"answer of {host}: host or dataset is not what it must be")
    return {"host": host, "dataset": texts[0], "version": texts[1]}
