"""``NAME=VALUE`` arguments of ``fedproc run``, and what it selects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedproc.common.errors import InvalidInputError
from fedproc.contract.wire.selection import LISTS, RANGES

_ONE = {
    "age": (r"\d+(?:\.\d+)?", "age=40..69 in years, both included; age=40.. and age=..69 leave one end open"),
    "date": (r"\d{4}-\d\d-\d\d", "date=2020-01-01..2020-12-31, both included; date=2020-01-01.. leaves one end open"),
}
"""of each range how one end is written, and how the whole is"""
_SHOWN = 30
"""characters before a fault of JSON that are shown with it"""


def parameters(file: Path | None, given: Iterable[str]) -> dict[str, Any]:
    """Parameters from a JSON file, then those ``given`` as ``NAME=VALUE`` (JSON; a text where it is no JSON)."""
    return _object(file) | dict(map(_pair, given))


def host_parameters(given: Iterable[str]) -> dict[str, dict[str, Any]]:
    """From ``HOST.NAME=VALUE``."""
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        host, dot, rest = text.partition(".")
        if not dot or "=" in host:
            raise InvalidInputError(f"{text!r}: give it as HOST.NAME=VALUE, for example UB.threshold=3")
        name, value = _pair(rest)
        found.setdefault(host, {})[name] = value
    return found


def files(given: Iterable[str]) -> dict[str, Path]:
    """From ``NAME=FILE``; raises :class:`InvalidInputError` for a file that is not there."""
    found = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not Path(path).is_file():
            raise InvalidInputError(f"{text!r}: give it as NAME=FILE, with a file that is there")
        found[name] = Path(path)
    return found


def selections(given: Iterable[str]) -> tuple[dict[str, Any] | None, dict[str, dict[str, Any]]]:
    """From ``ATTRIBUTE=VALUE,VALUE``, ``ATTRIBUTE=FROM..TO`` or ``ATTRIBUTE=@FILE``, ``HOST:ID.`` before it or not.

    What is selected of all datasets, None if nothing is, and what of single ones. Raises :class:`InvalidInputError`.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        dataset, _, attribute = name.rpartition(".")
        if not equals or not value or (dataset and ":" not in dataset):
            raise InvalidInputError(f"{text!r}: give it as ATTRIBUTE=VALUE, for example modality=CT,MR or age=18..65")
        of_dataset = found.setdefault(dataset, {})
        for key, values in _selected(attribute, value, text).items():
            of_dataset[key] = [*of_dataset.get(key, []), *values] if isinstance(values, list) else values
    return found.pop("", None), found


def _selected(attribute: str, value: str, text: str) -> dict[str, Any]:
    if attribute == "segmentations":
        return {attribute: {"yes": True, "no": False}.get(value, value)}
    if attribute in RANGES:
        return _range(attribute, value, text)
    if attribute not in LISTS:
        known = ", ".join([*LISTS, *RANGES])
        raise InvalidInputError(f"{text!r}: nothing is selected by {attribute!r}; there are {known}")
    if not value.startswith("@"):
        return {attribute: value.split(",")}
    try:
        return {attribute: [line.strip() for line in Path(value[1:]).read_text().splitlines() if line.strip()]}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{text!r}: {getattr(error, 'strerror', None) or 'no text'}") from error


def _range(attribute: str, value: str, text: str) -> dict[str, Any]:
    """``FROM..TO``, one end of it, or one value; also ``FROM-TO``, as people write it."""
    one, form = _ONE[attribute]
    dashed = re.fullmatch(rf"({one})\s*[-–]\s*({one})", value)
    low, dots, high = (dashed[1], "-", dashed[2]) if dashed else value.partition("..")
    ends = {f"{attribute}_from": low.strip(), f"{attribute}_to": (high if dots else low).strip()}
    given = {key: end for key, end in ends.items() if end}
    if not given or not all(re.fullmatch(one, end) for end in given.values()):
        raise InvalidInputError(f"{text!r}: give it as {form}")
    if len(given) == 2 and _order(low) > _order(high if dots else low):
        raise InvalidInputError(f"{text!r}: {low.strip()} is after {high.strip()}; give it as {form}")
    return given


def _order(end: str) -> tuple[float, str]:
    """Of ages by their number, of dates by their text."""
    plain = end.strip()
    return (0.0, plain) if "-" in plain else (float(plain), "")


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidInputError(f"{text!r}: give it as NAME=VALUE, for example rounds=10")
    try:
        return name, json.loads(value)
    except ValueError as error:
        if value.lstrip().startswith(("{", "[")):
            raise InvalidInputError(_broken(name, value, error)) from error
        return name, value


def _broken(name: str, value: str, error: ValueError) -> str:
    """Where JSON is broken; what begins like JSON is hardly meant as text."""
    at = min(error.pos, len(value)) if isinstance(error, json.JSONDecodeError) else 0
    where = "at its end" if at == len(value) else f"at character {at + 1}"
    what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    example = '{"key": 1, "other": "text"}' if value.lstrip()[0] == "{" else '[1, "text"]'
    return (
        f"{name}: this is no JSON: {what} {where}, after {value[max(0, at - _SHOWN) : at]!r}; JSON has double quotes "
        f"within, and the shell wants single ones around: '{name}={example}' (a text that begins so: '{name}=\"…\"')"
    )


def _object(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"parameters {file}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInputError(f"parameters {file}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"parameters {file}: must be a JSON object")
    return value
