"""Which of a user's grants an order goes by, and so for which project and purpose it may be.

Where the provider tells them, they are its word: what the user writes must be one that was granted, what is granted
once is filled in, and the datasets of an order must be granted for one project and one purpose. A permit is of one
grant: each dataset may have its own. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fedproc.central.grants.answers import Finding, Terms
from fedproc.common.errors import InvalidInputError

TERMS = ("project", "permit", "purpose")
_SHARED = ("project", "purpose")
"""what all datasets of an order must be granted for"""

_Choices = dict[str, tuple[Terms, ...]]


def chosen(findings: Mapping[str, Finding], stated: Mapping[str, str | None]) -> dict[str, Finding]:
    """The findings, each with the terms of the grant by which an order goes; ``stated``: what the user wrote, by term.

    Raises :class:`InvalidInputError` that names the term (``where``) and what was granted.
    """
    choices: _Choices = {
        dataset: finding.grants
        for dataset, finding in findings.items()
        if finding.answer == "granted" and any(terms.binds for terms in finding.grants)
    }
    for term in _SHARED:
        choices = _for_one(term, stated.get(term), choices)
    choices = _with_permit(stated.get("permit"), choices)
    best = {dataset: grants[0] for dataset, grants in choices.items()}
    return {name: replace(each, terms=best.get(name, each.terms)) for name, each in findings.items()}


def _for_one(term: str, stated: str | None, choices: _Choices) -> _Choices:
    """The grants that are left once the order is for one project, or purpose."""
    named = {dataset: values for dataset, grants in choices.items() if (values := _values(term, grants))}
    if stated is None:
        value = _common(term, named)
    else:
        value = stated
        _check_stated(term, stated, {dataset: named[dataset] for dataset in named if _must(term, choices[dataset])})
    return {
        dataset: tuple(terms for terms in grants if getattr(terms, term) in (None, value))
        for dataset, grants in choices.items()
    }


def _must(term: str, grants: Iterable[Terms]) -> bool:
    """Whether each of the grants says it; another leaves it to the user."""
    return all(getattr(terms, term) is not None for terms in grants)


def _check_stated(term: str, stated: str, named: Mapping[str, list[str]]) -> None:
    errors = [
        {"where": term, "what": f"{dataset} was granted to you for the {term} {_listed(values)}, not for {stated!r}",
         "cure": f"name the {term} of your grant, or none: it is then filled in"}
        for dataset, values in named.items() if stated not in values
    ]  # fmt: skip
    if errors:
        raise _refused(term, errors)


def _common(term: str, named: Mapping[str, list[str]]) -> str | None:
    """The one that all tell; None where nobody tells any."""
    if not named:
        return None
    shared = [value for value in next(iter(named.values())) if all(value in values for values in named.values())]
    if len(shared) == 1:
        return shared[0]
    if shared:
        what = f"your grants of {', '.join(named)} are for the {term}s {_listed(shared)}"
        raise _refused(term, [{"where": term, "what": what, "cure": f"say for which of them (--{term})"}])
    by_dataset = "; ".join(f"{dataset} for {_listed(values)}" for dataset, values in named.items())
    what = f"the datasets were granted to you for different {term}s: {by_dataset}"
    raise _refused(term, [{"where": "datasets", "what": what, "cure": f"start an experiment for each {term}"}])


def _with_permit(stated: str | None, choices: _Choices) -> _Choices:
    """The grants of the permit that the user has named, for those datasets that have one of it."""
    if stated is None or not choices:
        return choices
    fitting = {name: tuple(terms for terms in grants if terms.permit == stated) for name, grants in choices.items()}
    if not any(fitting.values()):
        known = list(dict.fromkeys(value for grants in choices.values() for value in _values("permit", grants)))
        what = f"none of your grants of {', '.join(choices)} is of permit {stated!r}: they are of {_listed(known)}"
        raise _refused("permit", [{"where": "permit", "what": what, "cure": "name one of them, or none"}])
    return {name: fitting[name] or grants for name, grants in choices.items()}


def _values(term: str, grants: Iterable[Terms]) -> list[str]:
    return list(dict.fromkeys(value for terms in grants if (value := getattr(terms, term)) is not None))


def _listed(values: Iterable[str]) -> str:
    return " or ".join(repr(value) for value in values)


def _refused(term: str, errors: list[dict[str, str]]) -> InvalidInputError:
    text = "; ".join(f"{error['what']} ({error['cure']})" for error in errors)
    return InvalidInputError(f"{text}; nothing was started", code=f"grant.{term}", errors=errors)
