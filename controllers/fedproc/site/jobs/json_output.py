"""Outputs that say that they are JSON hold numbers of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

from fedproc.common.errors import ToolFaultError
from fedproc.common.files import files_below
from fedproc.contract.tool.task import OutputDecl

_MOST_BYTES = 8 << 20
"""what is larger is not looked into: its parts take many times as much memory"""
_WORDS = (b"NaN", b"Infinity")


def check_numbers(output: OutputDecl, sealed: Path) -> None:
    """Raises :class:`ToolFaultError` if a sealed JSON file has NaN or Infinity, which no reader of JSON but some takes.

    What is no JSON otherwise is not judged here. Blocks; call it in a thread.
    """
    if output.media_type.removeprefix("application/") != "json" and not output.media_type.endswith("+json"):
        return
    for path in files_below(sealed) if sealed.exists() else ():
        content = _content(path)
        if not any(word in content for word in _WORDS):
            continue
        try:
            json.loads(content, parse_constant=_no_number)
        except _NoNumberError as error:
            raise ToolFaultError(
                f"output {output.name}: holds {error}, which is no number of JSON; the tool should write null there",
                code="tool_fault.output_json",
            ) from error
        except (ValueError, RecursionError):
            continue


def _content(path: Path) -> bytes:
    """Nothing if it is too large. UTF-16 is no JSON here, and its words are not found."""
    if path.stat().st_size > _MOST_BYTES:
        return b""
    with path.open("rb") as source:
        return source.read(_MOST_BYTES)


class _NoNumberError(Exception):
    """One of the constants that Python reads and writes, and JSON has not."""


def _no_number(name: str) -> NoReturn:
    raise _NoNumberError(name)
