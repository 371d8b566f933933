"""Whatever a tool wrote, a reviewer sees it: no error, no control character, nothing that an eye does not see."""

from __future__ import annotations

import io
import json
import re
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedproc.cli.site.contents import Content, content_of
from fedproc.cli.site.review_page import pages

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
PNG = b"\x89PNG\r\n\x1a\n"
NAMES = st.sampled_from(["a/a.json", "a/a.csv", "a/a.tsv", "a/a.txt", "a/a.png", "a/a.npz", "a/\u202egnp.csv"])
STARTS = st.sampled_from(
    [b"", b"{", b"[[", b"\x93NUMPY\x01\0", b"PK\x03\x04", PNG, b"\xff\xd8\xff\xe1", struct.pack("<Q", 20), b"\xff\xfe"]
)
ENTRY = {
    "job": "j-" + "0" * 26, "tool": "km", "version": "1.0.0", "task": "t", "user": "u", "project": None,
    "purpose": None, "since": "2026-11-02T09:00:00+00:00", "until": None, "persons_decided": 0, "persons_needed": 1,
    "may_decide": True, "findings": [], "classes": ["aggregate"], "findings_count": 0,
}  # fmt: skip


def seen(content: bytes, name: str) -> Content:
    return content_of(io.BytesIO(content), len(content), name)


@pytest.mark.slow
@given(STARTS, st.binary(max_size=400), NAMES)
@example(b"", b"a,b\r\n1,\xe2\x80\xae2\n", "a/a.csv")
@example(b"", b'{"a": "\\u202e"}', "a/a.json")
def test_any_bytes_are_shown(start: bytes, rest: bytes, name: str) -> None:
    found = seen(start + rest, name)
    assert found.kind in {"table", "json", "text", "model", "picture", "bytes"}
    for text in (*found.lines, *found.notes, *(cell for row in found.rows for cell in row)):
        assert not UNSEEN.search(text.replace("\t", "")), text
    file = {"path": name, "output": "a", "sha256": "0" * 64, "class": "aggregate", "findings": 0, "kept": False}
    page = pages.file_page(ENTRY, {**file, "said": None}, found, "token")
    assert not UNSEEN.search(page)
    assert "<script" not in page.lower()


@pytest.mark.slow
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_json_is_laid_out_and_stays_what_it_is(value: object) -> None:
    text = json.dumps({"value": value})
    found = seen(text.encode(), "a/a.json")
    assert found.kind == "json"
    assert "".join(text.split()) == "".join("".join(found.lines).split())


def test_an_empty_list_or_object_stands_on_one_line() -> None:
    found = seen(b'{"rows": [], "more": {"none": {}}}', "a/a.json")
    assert found.lines == ["{", '  "rows": [],', '  "more": {', '    "none": {}', "  }", "}"]


@pytest.mark.parametrize("inner", ["<b>1</b>", "</table><script>alert(1)</script>", '" onload="x'])
def test_a_table_is_no_mark_up(inner: str) -> None:
    row = inner.replace('"', '""')
    page = pages.file_page(
        ENTRY,
        {"path": inner, "output": "a", "sha256": "0" * 64, "class": "x", "findings": 0, "kept": True, "said": None},
        seen(f'head,"{row}"\n1,"{row}"\n'.encode(), "a/a.csv"),
        "token",
    )
    assert inner not in page


def test_shapes_of_a_model_are_read_from_its_head() -> None:
    head = json.dumps({"w": {"dtype": "F32", "shape": [30, 2], "data_offsets": [0, 240]}}).encode()
    found = seen(struct.pack("<Q", len(head)) + head + bytes(240), "m/m.safetensors")
    assert (found.kind, found.rows[1]) == ("model", ["w", "F32", "[30, 2]"])


def test_bytes_after_a_picture_are_told() -> None:
    end = b"\0\0\0\0IEND\xaeB`\x82"
    assert seen(PNG + end, "p.png").notes == []
    assert seen(PNG + end + b"rows", "p.png").notes == ["4 bytes stand after the picture's end, or are missing"]
