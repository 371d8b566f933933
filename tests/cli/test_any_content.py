"""Whatever a tool wrote, a reviewer sees it: no error, no control character, nothing that an eye does not see."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib

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
    "told_by": {}, "may_decide": True, "findings": [], "classes": ["aggregate"], "findings_count": 0,
}  # fmt: skip


def test_pages_name_their_host_in_title_and_text() -> None:
    file = {"path": "a/a.json", "output": "a", "sha256": "0" * 64, "class": "aggregate", "findings": 0, "kept": False}
    of_file = pages.file_page(ENTRY, {**file, "said": None}, seen(b"{}", "a/a.json"), "token", "UB")
    for page in (of_file, pages.job({**ENTRY, "files": []}, "token", "UB")):
        assert len(re.findall("at UB", page)) == 2


def test_a_decision_that_was_not_taken_comes_back_for_its_correction() -> None:
    files = [
        {"path": path, "class": "aggregate", "findings": 0, "sha256": "0" * 64, "kept": False, "said": None}
        for path in ("a/a.json", "b/b.json")
    ]
    sent = pages.Typed("give a <reason>", "two\n<lines>", [f"{'0' * 64} b/b.json", f"{'1' * 64} a/a.json"])
    page = pages.job({**ENTRY, "files": files}, "token", "UB", sent)
    assert 'role="alert">Nothing was decided: give a &lt;reason&gt;</p>' in page
    assert "two\n&lt;lines&gt;</textarea>" in page
    assert re.findall('aria-label="Decide about ([^"]+)" checked', page) == ["b/b.json"], "other bytes are not ticked"
    assert "alert" not in pages.job({**ENTRY, "files": files}, "token", "UB")


def test_what_was_decided_is_told_by_its_name() -> None:
    assert pages.decided("j-1", ["a/a.json"], True) == "Decided: a/a.json of job j-1 is released."
    assert pages.decided("j-1", ["a/a.json", "b/b.json"], False) == "Decided: 2 files of job j-1 stay here."


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


# -- what no eye sees --------------------------------------------------------------------------------------

HIDDEN = b"patient 4711 " * 20


def chunk(name: bytes, inside: bytes) -> bytes:
    return struct.pack(">I", len(inside)) + name + inside + struct.pack(">I", zlib.crc32(name + inside))


def png(*chunks: bytes, after_pixels: bytes = b"", rows: bytes = b"\0\1\2\3" * 2, colour: int = 2) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 2, 8, colour, 0, 0, 0))
    return PNG + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows) + after_pixels) + chunk(b"IEND", b"")


def segment(mark: int, inside: bytes) -> bytes:
    return bytes([0xFF, mark]) + struct.pack(">H", len(inside) + 2) + inside


def jpeg(before: bytes = b"", *, scan: bytes = b"\x12\x34", after: bytes = b"") -> bytes:
    frame = segment(0xC0, struct.pack(">BHHB", 8, 1, 1, 1) + b"\1\x11\0")
    tables = segment(0xDB, bytes(65)) + segment(0xC4, b"\0" + b"\1" + bytes(15) + b"\0")
    start = b"\xff\xd8" + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    return start + before + tables + frame + segment(0xDA, b"\1\1\0\0\x3f\0") + scan + b"\xff\xd9" + after


def npy(after: bytes = b"") -> bytes:
    made = io.BytesIO()
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }"
    made.write(b"\x93NUMPY\1\0" + struct.pack("<H", 118) + text.ljust(117) + b"\n" + bytes(16) + after)
    return made.getvalue()


def npz(comment: bytes = b"", before: bytes = b"", **beside: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.comment = comment
        archive.writestr(zipfile.ZipInfo("w.npy"), npy(beside.get("after", b"")))
        if before:
            made.write(before)
            archive.start_dir = made.tell()
            archive._didModify = True  # type: ignore[attr-defined]
    return made.getvalue()


def safetensors(head: dict[str, object] | None = None, after: bytes = b"") -> bytes:
    tensor = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    text = json.dumps({**(head or {}), **tensor}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4) + after


PLAIN = {"a.png": png(), "a.jpg": jpeg(), "a.npy": npy(), "a.npz": npz(), "a.safetensors": safetensors()}


@pytest.mark.parametrize("name", PLAIN)
def test_a_file_with_nothing_beside_has_no_notes(name: str) -> None:
    assert seen(PLAIN[name], name).notes == []


@pytest.mark.parametrize(
    "content",
    [
        png() + HIDDEN, png(after_pixels=HIDDEN), png(chunk(b"sBIT", HIDDEN)), png(chunk(b"tEXt", HIDDEN)),
        png(chunk(b"PLTE", HIDDEN)), png(chunk(b"gAMA", b"1234"), chunk(b"gAMA", b"1234")), png(rows=bytes(8) + HIDDEN),
        png()[:-4] + b"hide", jpeg(after=HIDDEN), jpeg(after=HIDDEN + b"\xff\xd9"), jpeg(segment(0xE0, HIDDEN)),
        jpeg(b"\xff" + segment(0xFE, HIDDEN)), jpeg(segment(0xDB, bytes(65) + HIDDEN)), jpeg(scan=HIDDEN * 10),
        npy(HIDDEN), npz(HIDDEN), npz(after=HIDDEN), npz(before=HIDDEN), HIDDEN[:0] + safetensors(after=HIDDEN),
        safetensors({"__metadata__": {"x": HIDDEN.decode()}}), safetensors({"a": {"dtype": "F32", "shape": [0],
        "data_offsets": [0, 0], "note": "4711"}}),
    ],
)  # fmt: skip
def test_bytes_that_no_eye_sees_are_told(content: bytes) -> None:
    found = seen(content, "a")
    assert found.kind in ("picture", "model")
    assert found.notes


def test_texts_in_a_models_head_are_shown() -> None:
    found = seen(safetensors({"__metadata__": {"x": "patient 4711"}}), "m.safetensors")
    assert ["__metadata__ x", "text", "patient 4711"] in found.rows


# -- what is small, and would fill a reviewer's memory -------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"," * 3000 + b"\n" + b"1\n" * 3000, "a.csv"),
        (b"[" * 400 + b"1," * 20_000 + b"1" + b"]" * 400, "a.json"),
        (b"[" + b"1," * 250_000 + b"1]", "a.json"),
        (png()[:-12] + chunk(b"abCd", b"") * 20_000 + chunk(b"IEND", b""), "a.png"),
    ],
)
def test_a_small_file_makes_no_large_page(content: bytes, name: str) -> None:
    found = seen(content, name)
    assert len(found.notes) <= 21
    assert sum(map(len, found.lines)) < 3_000_000
    assert len(found.rows) * max(map(len, found.rows), default=0) <= 200_000
    file = {"path": name, "output": "a", "sha256": "0" * 64, "class": "x", "findings": 0, "kept": True, "said": None}
    assert len(pages.file_page(ENTRY, file, found, "token")) < 4_000_000


def test_a_picture_that_is_too_large_is_not_read() -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert 0 <= (size or 0) <= 4096
            return super().read(size)

    found = content_of(Unread(png()), 400 << 20, "a.png")
    assert found.kind == "bytes"
    assert "not looked through" in found.notes[0]
