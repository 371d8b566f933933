"""What pydantic finds wrong with a request, as sentences for whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from fedproc.common.text import did_you_mean
from fedproc.common.validation import known_keys
from fedproc.contract import ids
from fedproc.contract.api.submissions import SUBMISSION_PATTERN

Loc = tuple[int | str, ...]


class Fault(NamedTuple):
    """``what`` is a sentence whose subject is the thing at ``loc``; it never holds the value itself."""

    loc: Loc
    what: str
    code: str


def faults_of(error: ValidationError, model: type[BaseModel] | None = None) -> list[Fault]:
    """All faults of a value that was to be a ``model``."""
    return [fault_of(entry, model) for entry in error.errors(include_url=False, include_input=False)]


def fault_of(entry: Mapping[str, Any], model: type[BaseModel] | None = None, above: int = 0) -> Fault:
    """One entry of pydantic's; the first ``above`` steps of its place lead to the model."""
    loc = tuple(step for step in entry["loc"] if step != "[key]")
    if entry["type"] == "extra_forbidden" and model is not None:
        *way, name = loc[above:]
        return Fault(loc, _unknown(str(name), known_keys(model, way)), entry["type"])
    return Fault(loc, sentence(entry), entry["type"])


def _unknown(name: str, keys: Iterable[str]) -> str:
    return f"is not known here{did_you_mean(name, keys) or ';'} known are {', '.join(keys)}"


def sentence(entry: Mapping[str, Any]) -> str:
    """What is wrong, without its place."""
    context: Mapping[str, Any] = entry.get("ctx") or {}
    for types, phrase in _WORDS:
        if entry["type"] in types:
            return phrase(context)
    text = str(entry["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _pattern(context: Mapping[str, Any]) -> str:
    return PATTERNS.get(str(context.get("pattern")), "has characters that are not allowed there, or too many")


PATTERNS: Mapping[str, str] = {
    ids.HOST_PATTERN: "is no host id: one has capital letters, digits and _, for example UB",
    ids.NAME_PATTERN: "is no name of this kind: one has small letters and digits, with - or _ between, as row-count",
    ids.DATASET_PATTERN: "is no dataset: one is HOST:ID, for example UB:breast-cohort",
    ids.EXPERIMENT_PATTERN: "is no id of an experiment: one is e- and 26 letters and digits",
    ids.JOB_PATTERN: "is no id of a job: one is j- and 26 letters and digits",
    SUBMISSION_PATTERN: "is no id of a submission: one is s- and 26 letters and digits",
    ids.FILE_PATTERN: "is no id of a file: one is f- and 26 letters and digits",
    ids.SHA256_PATTERN: "is no sha256: one is 64 hexadecimal digits, in small letters",
    ids.DIGEST_PATTERN: "is no digest: one is sha256: and 64 hexadecimal digits, in small letters",
    r"^[^\x00-\x1f\x7f]*$": "may not hold line breaks or other control characters",
}
"""What is said of a text that does not match."""

_Words = Callable[[Mapping[str, Any]], str]


def _fixed(text: str) -> _Words:
    return lambda _: text


_WORDS: tuple[tuple[frozenset[str], _Words], ...] = tuple(
    (frozenset(types.split()), phrase)
    for types, phrase in (
        ("missing", _fixed("is missing")),
        ("extra_forbidden", _fixed("is not known here")),
        ("string_pattern_mismatch", _pattern),
        ("string_type", _fixed("must be text")),
        ("int_type int_parsing int_from_float", _fixed("must be a whole number")),
        ("int_parsing_size", _fixed("is too large a number")),
        ("float_type float_parsing finite_number", _fixed("must be a number")),
        ("bool_type bool_parsing", _fixed("must be true or false")),
        ("list_type tuple_type set_type frozen_set_type", _fixed("must be a list")),
        ("dict_type model_type model_attributes_type mapping_type", _fixed("must be a JSON object")),
        ("enum literal_error", lambda c: f"must be one of {c['expected']}"),
        ("greater_than_equal", lambda c: f"must be at least {c['ge']}"),
        ("greater_than", lambda c: f"must be above {c['gt']}"),
        ("less_than_equal", lambda c: f"must be at most {c['le']}"),
        ("less_than", lambda c: f"must be below {c['lt']}"),
        ("string_too_short", lambda c: f"must have at least {c['min_length']} characters"),
        ("string_too_long", lambda c: f"may have at most {c['max_length']} characters"),
        ("too_short", lambda c: f"must have at least {c['min_length']} entries"),
        ("too_long", lambda c: f"may have at most {c['max_length']} entries"),
        ("timezone_aware", _fixed("must say its time zone, as 2026-01-31T12:00:00Z")),
        ("none_required", _fixed("must be left out")),
    )
)
