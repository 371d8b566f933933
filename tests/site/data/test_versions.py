"""A dataset's version follows from its content, and an index keeps it without reading what has not changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.site.data.dicom_files import image, put, uid

from fedproc.common.tasks import StopFlag, StoppedError
from fedproc.site.data import examining
from fedproc.site.data import index as module
from fedproc.site.data.index import DatasetIndex
from fedproc.site.data.merkle import Leaf, version_of
from fedproc.site.data.walking import folder_state, shown

LONG_AGO = 1_600_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dataset"
    for name, content in {"a/1": b"one", "a/2": b"two", "b": b"three", "a-c": b"four"}.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        write(made / name, content)
    return made


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    return DatasetIndex(tmp_path / "index.sqlite")


def write(path: Path, content: bytes) -> None:
    """A file that was not touched for long."""
    path.write_bytes(content)
    os.utime(path, (LONG_AGO, LONG_AGO))


def version(folder: Path, index: DatasetIndex) -> str:
    return index.update(folder, StopFlag()).version


def swap(folder: Path) -> None:
    (folder / "b").rename(folder / "x")
    (folder / "a-c").rename(folder / "b")
    (folder / "x").rename(folder / "a-c")


def cut(folder: Path) -> None:
    os.truncate(folder / "b", 2)


def link(folder: Path) -> None:
    (folder / "b").unlink()
    (folder / "b").symlink_to("a/1")


@pytest.mark.parametrize(
    "change",
    [
        swap,
        cut,
        link,
        lambda folder: (folder / "b").unlink(),
        lambda folder: (folder / "b").rename(folder / "c"),
        lambda folder: (folder / "a" / "1").rename(folder / "1"),
        lambda folder: (folder / "b").write_bytes(b"THREE"),
        lambda folder: (folder / "more").write_bytes(b""),
    ],
    ids=["swap", "truncation", "link", "removal", "rename", "move", "same length", "empty file"],
)
def test_version_is_another_after(folder: Path, index: DatasetIndex, change: Callable[[Path], object]) -> None:
    before, stood = version(folder, index), folder_state(folder, StopFlag())
    change(folder)
    assert folder_state(folder, StopFlag()) != stood
    assert version(folder, index) != before


def test_version_is_the_same_for_the_same_content_wherever_it_lies_and_whenever_it_was_written(
    folder: Path, index: DatasetIndex, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for name in ("b", "a-c", "a/2", "a/1"):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes((folder / name).read_bytes())
    assert version(folder, index) == version(other, DatasetIndex(tmp_path / "other.sqlite"))


def test_version_has_names_and_contents_apart() -> None:
    digest = bytes(32)
    leaves = [[Leaf(b"ab", "file", 1, digest)], [Leaf(b"a", "bfile", 1, digest)], [Leaf(b"ab", "file", 1, digest)] * 2]
    assert len({version_of(one) for one in leaves}) == len(leaves)
    assert version_of([]) == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_tree_is_that_of_rfc_6962(count: int) -> None:
    leaves = [Leaf(b"%d" % number, "file", number, bytes([number]) * 32) for number in range(count)]
    assert version_of(leaves) == "sha256:" + _root([_hash(leaf) for leaf in leaves]).hex()


def _hash(leaf: Leaf) -> bytes:
    head = len(leaf.path).to_bytes(4, "big") + leaf.path + b"\x04file"
    return _sha256(b"\0" + head + leaf.size.to_bytes(8, "big") + leaf.sha256)


def _root(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return _sha256(b"\1" + _root(hashes[:split]) + _root(hashes[split:]))


def _sha256(content: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(content).digest()


def test_bytes_that_have_not_changed_are_not_read_again(
    folder: Path, index: DatasetIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = version(folder, index)
    write(folder / "b", b"another")
    read = reads(monkeypatch)
    assert version(folder, index) != before
    assert read == [b"b"]
    read.clear()
    index.update(folder, StopFlag(), older_than=examining.time.time() + 1)
    assert sorted(read) == [b"a-c", b"a/1", b"a/2", b"b"]


def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The paths of what is read from now on."""
    read: list[bytes] = []
    real = module.examine

    def noted(folder: Path, entry: module.Entry, flag: StopFlag) -> examining.Examined | None:
        read.append(entry.path)
        return real(folder, entry, flag)

    monkeypatch.setattr(module, "examine", noted)
    return read


def test_file_that_was_changed_just_before_it_was_read_is_read_again(folder: Path, index: DatasetIndex) -> None:
    (folder / "b").write_bytes(b"THREE")
    before = (folder / "b").stat()
    known = index.update(folder, StopFlag())
    (folder / "b").write_bytes(b"EERHT")
    os.utime(folder / "b", ns=(before.st_atime_ns, before.st_mtime_ns))  # as a clock that ticks slowly leaves it
    assert folder_state(folder, StopFlag()).fingerprint != known.fingerprint
    assert version(folder, index) != known.version


def test_content_that_changed_behind_its_time_is_found_when_all_bytes_are_read(
    folder: Path, index: DatasetIndex
) -> None:
    before = version(folder, index)
    (folder / "b").write_bytes(b"EERHT")
    os.utime(folder / "b", (LONG_AGO, LONG_AGO))
    assert version(folder, index) == before
    assert index.update(folder, StopFlag(), older_than=examining.time.time() + 1).version != before


def test_pass_that_is_cut_goes_on_where_it_was(
    folder: Path, index: DatasetIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = StopFlag()
    monkeypatch.setattr(module, "_PROGRESS", 2)
    with pytest.raises(StoppedError):
        index.update(folder, flag, lambda _: flag.set())
    assert index.known() is None
    read = reads(monkeypatch)
    index.update(folder, StopFlag())
    assert sorted(read) == [b"a/1", b"a/2"]


def test_file_that_was_met_by_a_pass_that_was_cut_and_then_went_is_no_part(
    folder: Path, index: DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version(folder, index)
    flag = StopFlag()
    monkeypatch.setattr(module, "_PROGRESS", 2)
    write(folder / "0", b"new")
    with pytest.raises(StoppedError):
        index.update(folder, flag, lambda _: flag.set())
    (folder / "0").unlink()
    assert version(folder, index) == version(folder, DatasetIndex(tmp_path / "another.sqlite"))


def test_problems_are_known_after_the_pass(folder: Path, index: DatasetIndex) -> None:
    (folder / "empty").touch()
    os.utime(folder / "empty", (LONG_AGO, LONG_AGO))
    found = index.update(folder, StopFlag())
    assert found.found == {"empty": 1}
    assert index.known() == found


def test_time_to_come_is_no_reason_to_read_at_each_look(folder: Path, index: DatasetIndex) -> None:
    os.utime(folder / "b", (examining.time.time() + 1e8,) * 2)
    assert index.update(folder, StopFlag()).fingerprint == folder_state(folder, StopFlag()).fingerprint


def test_file_that_cannot_be_read_is_tried_rarely(
    folder: Path, index: DatasetIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = version(folder, index)
    closed, real = True, os.open

    def opened(path: bytes, *more: int) -> int:
        if closed and path.endswith(b"/b"):
            raise PermissionError(13, "denied")
        return real(path, *more)

    monkeypatch.setattr(examining.os, "open", opened)
    os.utime(folder / "b", (LONG_AGO + 1, LONG_AGO + 1))
    found = index.update(folder, StopFlag())
    assert found.found == {"unreadable": 1}
    assert found.fingerprint == folder_state(folder, StopFlag()).fingerprint
    assert not found.is_due()
    read = reads(monkeypatch)
    index.update(folder, StopFlag())
    assert read == []
    closed = False
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.0)
    assert found.is_due()
    assert version(folder, index) == before
    assert read == [b"b"]


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be looked at" * 100])
def test_index_that_is_damaged_is_made_again(folder: Path, index: DatasetIndex, content: bytes) -> None:
    before = version(folder, index)
    index.path.write_bytes(content)
    assert index.known() is None
    assert version(folder, index) == before


def test_index_of_another_release_is_made_again(folder: Path, index: DatasetIndex) -> None:
    before = version(folder, index)
    with sqlite3.connect(index.path) as db:
        db.execute("PRAGMA user_version = 99")
    assert index.known() is None
    assert version(folder, index) == before


def test_odd_files_are_told_by_name(folder: Path, index: DatasetIndex) -> None:
    (folder / "out").symlink_to("/etc/passwd")
    (folder / "gone").symlink_to("nothing")
    (folder / "in").symlink_to("a/1")
    os.mkfifo(folder / "pipe")
    (folder / "empty").touch()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\n")).touch()
    index.update(folder, StopFlag())
    found = {(path, code) for path, code, _ in index.problems()}
    assert found == {
        ("out", "link_out"), ("gone", "link_broken"), ("pipe", "special"), ("empty", "empty"),
        (r"\xff\n", "name_not_utf8"), (r"\xff\n", "empty"),
    }  # fmt: skip


def test_paths_are_shown_without_what_a_terminal_would_obey() -> None:
    assert shown(b"a/\x1b[2J\xff\xe2\x80\xaetxt") == r"a/\x1b[2J\xff\u202etxt"


@pytest.mark.slow
def test_fifty_thousand_files_are_looked_at_in_no_time(folder: Path, index: DatasetIndex) -> None:
    """The product of processor seconds: a loaded machine takes longer, and uses no more."""
    for number in range(100):
        (folder / f"{number:03}").mkdir()
        for inner in range(100):
            write(folder / f"{number:03}" / f"{inner}.dcm", b"x")
    index.update(folder, StopFlag())
    begun = examining.time.process_time()
    folder_state(folder, StopFlag())
    assert (examining.time.process_time() - begun) * 5 < 2.0


def test_layout_of_datmat_is_read_as_it_is(tmp_path: Path, index: DatasetIndex) -> None:
    """PROJECT/SUBJECT/EXPERIMENT/SCAN_TYPE/FILE: whose an image is says the image, and no name of a folder."""
    folder = tmp_path / "project"
    for subject in ("XNAT_S1", "XNAT_S2"):
        ids = {"PatientID": subject.removeprefix("XNAT_"), "StudyInstanceUID": uid(f"study {subject}")}
        place = folder / subject / "baseline MR" / "2_t1 mprage"
        names = {
            "PatientName": ids["PatientID"],
            "SeriesInstanceUID": uid(subject),
            "SOPInstanceUID": uid(f"{subject} 1"),
        }
        put(place / "image 1", image(**ids, **names))
    (folder / "clinical_data.csv").write_text("subject,age\nXNAT_S1,40\n")
    known = index.update(folder, StopFlag())
    with index.readonly() as db:
        assert [row[0] for row in db.execute("SELECT DISTINCT patient FROM series ORDER BY 1")] == ["S1", "S2"]
        assert db.execute("SELECT path FROM files WHERE instance IS NOT NULL ORDER BY path").fetchone() == (
            b"XNAT_S1/baseline MR/2_t1 mprage/image 1",
        )
    assert (known.files, known.images) == (3, 2)
