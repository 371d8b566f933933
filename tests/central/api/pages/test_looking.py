"""What a page shows of a result: tables and texts, whatever a tool wrote."""

from __future__ import annotations

from typing import Any

import pytest
from tests.central.api.pages.test_parts import EXPERIMENT, file, results

from fedproc.central.api.pages.looking import LARGEST, MOST_LINES, Looked, can_be_looked_at, looked_at
from fedproc.central.api.pages.rendering import environment


@pytest.mark.parametrize(
    ("path", "content", "shown"),
    [
        ("a.csv", b'\xef\xbb\xbfgroup,n\r\n\r\n"Pre, ""x""",12\n', Looked(rows=[["group", "n"], ['Pre, "x"', "12"]])),
        ("a.tsv", b"a\tb\n1\n", Looked(rows=[["a", "b"], ["1", ""]])),
        ("a.csv", b'a\n"no end', Looked(lines=["a", '"no end'])),
        ("a.json", b"{\x1b[2J\xff}", Looked(lines=["{\\x1b[2J\\xff}"])),
        ("a.csv", b"", Looked(lines=[])),
        ("a.csv", b"n\n" + b"1\n" * (MOST_LINES + 2), Looked(rows=[["n"], *[["1"]] * MOST_LINES], left=2)),
        ("a.txt", b"1\n" * (MOST_LINES + 2), Looked(lines=["1"] * MOST_LINES, left=2)),
    ],
    ids=["table", "tabs", "no-table", "controls", "empty", "long-table", "long-text"],
)
def test_content_is_a_table_or_its_text(path: str, content: bytes, shown: Looked) -> None:
    assert looked_at(path, content) == shown


@pytest.mark.parametrize(
    ("more", "may"),
    [
        ({"path": "curves.csv"}, True),
        ({"path": "RESULT.JSON"}, True),
        ({"path": "model.npz"}, False),
        ({"path": "curves.csv", "size": LARGEST + 1}, False),
        ({"path": "curves.csv", "state": "pending"}, False),
        ({"path": "curves.csv", "plain_sha256": "0" * 64}, False),
    ],
)
def test_what_is_small_text_that_the_page_can_read_is_looked_at(more: dict[str, Any], may: bool) -> None:
    found = file("UB", **more)
    assert can_be_looked_at(found) is may
    assert ("look at it" in results(found)) is may
    assert "look at it" not in results(found, own=False)


def test_numbers_of_a_table_are_not_broken_and_long_texts_are() -> None:
    of_results = {"experiment": EXPERIMENT, "sha256": "0" * 64}
    frame = {"session": None, "path": "/", "method": "GET", "places": [], "help": ""}
    looked = Looked(rows=[["survival", "note"], ["0.7037037037037037", "x" * 25]])
    page = environment().get_template("look.html").render(file=file("UB", **of_results), looked=looked, **frame)
    assert '<td class="whole">0.7037037037037037</td><td>xxx' in page
