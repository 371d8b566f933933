"""The hash of a file that comes in several requests, whoever else writes, and whatever is restarted meanwhile."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.central.files import blobs as blobs_module
from fedproc.central.files.blobs import Blobs
from fedproc.central.files.running_hashes import RunningHashes
from fedproc.common.errors import StorageFullError

NAME = "f-" + "0" * 26
PIECES = st.binary(min_size=1, max_size=40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["ours", "other process"]), st.lists(PIECES, max_size=3)),
        st.tuples(st.sampled_from(["refused", "disk full", "written over", "replaced", "same size again"]), PIECES),
        st.sampled_from([("restart", b""), ("looked at", b""), ("from 0", b"")]),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blobs")


@given(STEPS)
def test_hash_is_that_of_the_bytes_whatever_happens_between(folder: Path, steps: list[tuple[str, Any]]) -> None:
    ours, other = Blobs(folder), Blobs(folder)
    ours.delete(NAME)
    ours.create(NAME, 1)
    for what, given_ in steps:
        if what == "restart":
            ours = Blobs(folder)
        else:
            _step(ours, other, what, given_)
        for store in (ours, other):
            with store.locked(NAME) as incoming:
                assert incoming.sha256() == hashlib.sha256(store.path(NAME).read_bytes()).hexdigest(), (what, store)


def _step(ours: Blobs, other: Blobs, what: str, given_: Any) -> None:
    path = ours.path(NAME)
    if what in {"written over", "replaced"}:
        content = given_ + path.read_bytes()[len(given_) :] if what == "written over" else given_
        if what == "replaced":
            path.unlink()
        path.write_bytes(content)
        return
    with (other if what in {"other process", "same size again"} else ours).locked(NAME) as incoming:
        start = incoming.size
        if what in {"from 0", "same size again"}:
            incoming.cut(0)
            incoming.append(bytes(start))
        elif what == "refused":
            incoming.append(given_)
            incoming.cut(start)
        elif what == "disk full":
            _half(incoming, given_)
        else:
            for piece in given_:
                incoming.append(piece)


def _half(incoming: Any, data: bytes) -> None:
    write = os.pwrite

    def full(descriptor: int, rest: memoryview, at: int) -> int:
        if len(rest) < len(data):
            raise OSError(28, "no space")
        return write(descriptor, rest[: len(rest) // 2], at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blobs_module.os, "pwrite", full)
        if len(data) > 1:
            with pytest.raises(StorageFullError):
                incoming.append(data)


def test_file_in_pieces_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Blobs(tmp_path)
    store.create(NAME, 9)
    monkeypatch.setattr(blobs_module, "sha256_of", lambda path: "read")
    for piece in (b"abc", b"def", b"ghi"):
        with store.locked(NAME) as incoming:
            incoming.append(piece)
        with store.locked(NAME) as incoming:
            assert incoming.size % 3 == 0
    with store.locked(NAME) as incoming:
        assert incoming.sha256() == hashlib.sha256(b"abcdefghi").hexdigest()
    with Blobs(tmp_path).locked(NAME) as incoming:
        assert incoming.sha256() == "read"


def test_no_more_are_kept_than_stated(tmp_path: Path) -> None:
    hashes = RunningHashes(most=2)
    with open(tmp_path / "file", "w+b") as file:  # noqa: PTH123
        file.write(b"a")
        file.flush()
        for name in "abc":
            hashes.keep(Path(name), file.fileno(), hashlib.sha256(b"a"), written=name == "a")
        found = [hashes.take(Path(name), file.fileno()) for name in "abc"]
    assert [one and one.hexdigest() for one in found] == [None, *[hashlib.sha256(b"a").hexdigest()] * 2]
