"""Log lines: JSON, an event's name as message, fields beside it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fedproc.common.log import get_logger, log_json


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    before, level = logging.root.handlers[:], logging.root.level
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    log_json("INFO", host="UB")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    logging.root.handlers[:] = before
    logging.root.setLevel(level)


def test_line_names_the_event_and_has_its_fields(lines: Any) -> None:
    get_logger("fedproc.site").bind(job="j-1").warning("job.ended", state="failed", reason="zwei\nZeilen")
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "fedproc.site",
        "message": "job.ended",
        "host": "UB",
        "job": "j-1",
        "state": "failed",
        "reason": "zwei\nZeilen",
    }


def test_library_line_has_the_same_form(lines: Any) -> None:
    logging.getLogger("uvicorn").error("no %s", "port", extra={"port": 80})
    (line,) = lines()
    assert (line["message"], line["port"], line["level"], line["logger"]) == ("no port", 80, "error", "uvicorn")


def test_traceback_is_one_field(lines: Any) -> None:
    try:
        int("why")
    except ValueError:
        get_logger("fedproc").exception("job.unforeseen")
    (line,) = lines()
    assert "ValueError: invalid literal" in line["exception"]


def test_debug_is_left_out_below_its_level(lines: Any) -> None:
    get_logger("fedproc").debug("request.answered")
    logging.getLogger("httpx").info("GET /")
    assert lines() == []


def test_what_json_does_not_know_is_text(lines: Any) -> None:
    get_logger("fedproc").info("job.ended", code=ValueError("x"))
    assert lines()[0]["code"] == "x"
