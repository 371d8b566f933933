"""Answers of several parts, whole and hostile: what is read is what was sent, and memory is bounded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.site.data.remote.errors import RemoteError, RemotePassingError
from fedproc.site.data.remote.multipart import Parts, boundary_of

DICOM = "application/dicom"
B = b"=boundary"


def answer(bodies: list[bytes], head: bytes = b"Content-Type: application/dicom\r\n", end: bytes = b"--\r\n") -> bytes:
    parts = b"".join(b"\r\n--" + B + b"\r\n" + head + b"\r\n" + body for body in bodies)
    return parts[2:] + b"\r\n--" + B + end


def cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def read(content: bytes, size: int = 7) -> list[bytes]:
    parts = Parts(cut(content, size), B)
    return [b"".join(parts.body()) for _ in parts]


@pytest.mark.slow
@given(
    bodies=st.lists(st.one_of(st.binary(max_size=80), st.text("\r\n-=bound", max_size=80).map(str.encode)), max_size=4),
    size=st.integers(1, 60),
)
def test_parts_are_what_was_sent_however_they_come(bodies: list[bytes], size: int) -> None:
    mark = b"\r\n--" + B
    if any(mark in b"\r\n" + body + b"\r\n--" + B[:-1] for body in bodies):
        return
    whole = answer(bodies)
    if bodies:
        assert read(whole, size) == bodies


@pytest.mark.slow
@given(content=st.one_of(st.binary(max_size=300), st.text("\r\n-=boundary: x", max_size=300).map(str.encode)))
def test_any_bytes_end_with_parts_or_an_error_of_ours(content: bytes) -> None:
    try:
        read(content)
    except RemoteError:
        return


def test_head_may_be_empty_and_parts_may_be_left_unread() -> None:
    assert read(answer([b"one", b"two"], head=b"")) == [b"one", b"two"]
    assert len([None for _ in Parts(cut(answer([b"one" * 50, b"two"]), 5), B)]) == 2
    assert read(b"a preamble\r\n" + answer([b"x"])) == [b"x"]


@pytest.mark.parametrize("end", [b"", b"--"[:1], b"\r\n"])
def test_answer_that_ends_in_the_middle_may_be_asked_for_again(end: bytes) -> None:
    with pytest.raises(RemotePassingError, match="in the middle"):
        read(answer([b"one"], end=end))
    with pytest.raises(RemotePassingError):
        read(answer([b"one" * 100])[:150])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\r\n--" + B + b"\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", "line without end"),
        (b"\r\n--" + B + b"\r\n" + b"X: y\r\n" * 9000 + b"\r\n", "head without end"),
        (b"z" * 100_000, "none of the parts"),
        (b"\r\n--" + B + b"z\r\n\r\n", "behind the mark"),
    ],
)
def test_nonsense_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(RemoteError, match=said):
        read(content, 1000)


@pytest.mark.slow
def test_memory_is_flat_however_long_a_part_is() -> None:
    def endless() -> Iterator[bytes]:
        yield b"--" + B + b"\r\n\r\n"
        for _ in range(200):
            yield bytes(1 << 18)
        yield b"\r\n--" + B + b"--"

    tracemalloc.start()
    try:
        parts = Parts(endless(), B)
        size = sum(len(piece) for _ in parts for piece in parts.body())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 200 << 18
    assert peak < 3 << 20


@pytest.mark.parametrize(
    ("content_type", "said"),
    [
        ("text/html", "not multipart/related"),
        ("multipart/related; type=application/dicom", "boundary"),
        ('multipart/related; type="image/jpeg"; boundary=x', "image/jpeg"),
        ("multipart/related; boundary=" + "x" * 300, "boundary"),
        ("", "not multipart/related"),
        ("\udcff\n;;;", "not multipart/related"),
    ],
)
def test_answer_of_another_kind_is_refused(content_type: str, said: str) -> None:
    with pytest.raises(RemoteError, match=said):
        boundary_of(content_type, DICOM)


def test_boundary_is_read_as_it_is_written() -> None:
    assert boundary_of('Multipart/Related; type="application/dicom"; boundary="a b:c"', DICOM) == b"a b:c"
    assert boundary_of("multipart/related; boundary=abc", DICOM) == b"abc"
