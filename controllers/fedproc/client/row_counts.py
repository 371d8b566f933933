"""What results say of themselves (docs/tools.md).

That is how many rows of each dataset were read, used and left out, and what is to be known before the numbers are used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

_LARGEST = 16 << 20
_MOST = 10_000
_LONG = 300
_COUNTS = ("read", "used", "left_out")


def rows_in(results: Iterable[Path]) -> list[dict[str, Any]]:
    """The entries under ``rows`` of these files, each once; what is no such file, or no such entry, is passed over."""
    found: list[dict[str, Any]] = []
    for path in results:
        for entry in _entries(path):
            if entry not in found and len(found) < _MOST:
                found.append(entry)
    return found


def warnings_in(results: Iterable[Path]) -> list[str]:
    """The texts under ``warnings`` of these files, each once; no such file, or no short text, is passed over."""
    texts = (text for path in results for text in _listed(path, "warnings") if _is_text(text))
    return list(islice(dict.fromkeys(texts), _MOST))


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    yield from filter(None, map(_entry, _listed(path, "rows")))


def _listed(path: Path, name: str) -> list[Any]:
    """What a JSON object has in the list of this name."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_bytes()) if path.stat().st_size <= _LARGEST else None
        listed = content.get(name) if isinstance(content, dict) else None
        return listed if isinstance(listed, list) else []
    return []


def _entry(given: Any) -> dict[str, Any] | None:
    if not isinstance(given, dict) or not all(_is_count(given.get(name)) for name in _COUNTS):
        return None
    host, dataset, why = given.get("host"), given.get("dataset"), given.get("why")
    if not _is_text(host) or not _is_text(dataset) or not (why is None or _is_text(why)):
        return None
    return {"id": f"{host}:{dataset}", **{name: given.get(name) for name in _COUNTS}, "why": why}


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONG
