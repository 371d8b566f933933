"""Row counts of results, as a tool wrote them: into the report, or passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedproc.client.report import text_of
from fedproc.client.row_counts import rows_in, warnings_in

USED = {"host": "UB", "dataset": "cohort", "version": "1", "read": 300, "used": 280, "left_out": 20, "why": "gaps"}
HIDDEN = {"host": "BSC", "dataset": "cohort", "read": None, "used": 97, "left_out": None, "why": "fewer than min_cell"}


def _written(folder: Path, content: Any) -> Path:
    path = folder / "result.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_rows_of_a_result_are_in_the_report_once(tmp_path: Path) -> None:
    path = _written(tmp_path, {"rows": [USED, HIDDEN]})
    rows = rows_in([path, path, tmp_path / "absent.json"])
    assert rows == [
        {"id": "UB:cohort", "read": 300, "used": 280, "left_out": 20, "why": "gaps"},
        {"id": "BSC:cohort", "read": None, "used": 97, "left_out": None, "why": "fewer than min_cell"},
    ]
    text = text_of(_report(rows))
    assert "\nRows, as the tool says:\n  UB:cohort   300 read, 280 used, 20 left out (gaps)\n" in text
    assert "  BSC:cohort  97 used (fewer than min_cell)\n" in text


@pytest.mark.parametrize(
    "content",
    ["no JSON", "[" * 100_000, [], {"rows": 288}, {"rows": [7, None, []]}, {"rows": [USED | {"used": True}]},
     {"rows": [USED | {"read": -1}]}, {"rows": [USED | {"host": 3}]}, {"rows": [USED | {"why": "x" * 301}]}, {}],
)  # fmt: skip
def test_what_is_no_such_table_is_passed_over(tmp_path: Path, content: Any) -> None:
    assert rows_in([_written(tmp_path, content)]) == []


def test_warnings_of_results_are_in_the_report_each_once(tmp_path: Path) -> None:
    path = _written(tmp_path, {"warnings": ["joined\nTool: x", 7, "joined\nTool: x", "y" * 301, "far"], "rows": 3})
    found = warnings_in([path, path, tmp_path / "absent.json"])
    assert found == ["joined\nTool: x", "far"]
    text = text_of(_report([]) | {"warnings": found})
    assert "\nBefore its numbers are used, the tool says:\n  joined Tool: x\n  far\n" in text
    assert "the tool says" not in text_of(_report([]))


def test_words_of_a_tool_stay_in_their_line(tmp_path: Path) -> None:
    rows = rows_in([_written(tmp_path, {"rows": [USED | {"why": "a\nTool: other\u2028b"}]})])
    (line,) = [line for line in text_of(_report(rows)).split("\n") if "UB:cohort" in line]
    assert line.endswith("20 left out (a Tool: other b)")


def test_terms_are_told_with_whose_word_they_are() -> None:
    words = {"project": "A", "purpose": "research", "told_by": {"project": "eucaim"}}
    text = text_of(_report([]) | words)
    assert "Project:     A (granted, by eucaim)\nPurpose:     research (stated by the user)\n" in text
    assert "Permit" not in text
    text = text_of(_report([]) | words | {"told_by": None})
    assert "Project:     A (it is not known whose word it is)\n" in text


def test_report_says_until_the_end_that_it_is_not_complete() -> None:
    ended = _report([]) | {"experiment": "e-1", "ended": "2026-01-01T00:00:00+00:00", "citation": "count 1.2.0 on UB:a"}
    before, after = (text_of(ended | {"complete": complete}) for complete in (False, True))
    assert before.startswith(
        "Experiment:  e-1\nComplete:    no: its results are not all here; fedproc results e-1 --to "
    )
    assert "Not to be cited yet: its results were not all fetched." in before
    assert "To cite" not in before
    assert "Complete" not in after
    assert "\nTo cite: count 1.2.0 on UB:a; it has no results\n" in after
    after = text_of(ended | {"complete": True, "files": [{"sha256": "00", "path": "UB/a.json"}]})
    assert "\nTo cite: count 1.2.0 on UB:a; the sha256 of each file stands above, and in report.json\n" in after


def _report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(
        (
            "label",
            "owner_name",
            "created",
            "ended",
            "project",
            "permit",
            "purpose",
            "experiment",
            "centre",
            "citation",
            "citation_lacks",
        )
    )
    lists: dict[str, Any] = {name: [] for name in ("jobs", "datasets", "files", "succeeded_without", "partly_released")}
    tool = {"id": "t", "version": "1.0.0", "digest": "sha256:0"}
    return (
        empty
        | lists
        | {
            "complete": True,
            "told_by": {},
            "tool": tool,
            "state": "succeeded",
            "parameters": {},
            "host_parameters": {},
            "rows": rows,
            "warnings": [],
        }
    )
