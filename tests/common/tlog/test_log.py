"""The log on the disk: appended to by one or many, read again after each way to be lost, closed after harm."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.needs import needs

from fedproc.common.tlog.checkpoints import opened
from fedproc.common.tlog.entries import parse
from fedproc.common.tlog.errors import LogDamagedError, LogError
from fedproc.common.tlog.folder import CHECKPOINT, ENTRIES, HASHES, KEY, VERIFIER
from fedproc.common.tlog.log import RECOVERED, Log, _last_line
from fedproc.common.tlog.merkle import leaf_hash, tree_root, verify_consistency, verify_inclusion
from fedproc.common.tlog.notes import NoteVerifier

ORIGIN = "centre.example/hosts/UB"


def filled(folder: Path, count: int) -> Log:
    log = Log(folder, ORIGIN)
    for number in range(count):
        log.append([("job.accepted", {"job": f"j-{number}"})])
    return log


def lines(log: Log) -> list[bytes]:
    return (log.folder / ENTRIES).read_bytes().split(b"\n")[:-1]


def test_entries_are_numbered_and_name_the_one_before(tmp_path: Path) -> None:
    log = Log(tmp_path / "tlog", ORIGIN)
    first, second = log.append([("a", {"x": 1}), ("b", {"y": "ü\u2028"})])
    (third,) = log.append([("c", {})])
    assert [parse(line) for line in lines(log)] == [first, second, third]
    assert [entry.number for entry in (first, second, third)] == [0, 1, 2]
    assert len({first.previous, second.previous, third.previous}) == 3


def test_folder_and_key_are_for_its_owner_alone(tmp_path: Path) -> None:
    log = filled(tmp_path / "tlog", 1)
    assert log.folder.stat().st_mode & 0o077 == 0
    assert (log.folder / KEY).stat().st_mode & 0o077 == 0
    assert (log.folder / ENTRIES).stat().st_mode & 0o077 == 0


def test_log_goes_on_after_it_is_opened_again(tmp_path: Path) -> None:
    before = filled(tmp_path, 7)
    note = before.checkpoint()
    again = Log(tmp_path, "a name that it would have had if it were new")
    again.append([("b", {})])
    assert again.origin == ORIGIN
    assert opened(note, NoteVerifier.parse(again.verifier)).root == again.root_at(7)


@pytest.mark.parametrize("leave", [0, 1, 32, 33, 5 * 32])
def test_file_of_hashes_may_be_lost_or_cut(tmp_path: Path, leave: int) -> None:
    root = filled(tmp_path, 9).root_at(9)
    os.truncate(tmp_path / HASHES, leave)
    again = Log(tmp_path, ORIGIN)
    again.append([("b", {})])
    assert again.root_at(9) == root
    assert Log(tmp_path, ORIGIN).root_at(9) == root


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(st.data())
def test_proofs_of_a_log_hold_whatever_was_appended_together(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    log = Log(tmp_path_factory.mktemp("tlog"), ORIGIN)
    for count in data.draw(st.lists(st.integers(0, 5), max_size=8)):
        log.append([("a", {"n": number}) for number in range(count)])
    if not log.size:
        return
    old, number = data.draw(st.integers(1, log.size)), data.draw(st.integers(0, log.size - 1))
    note, proof = log.consistency(old)
    now = opened(note, NoteVerifier.parse(log.verifier))
    assert verify_consistency(old, now.size, log.root_at(old), now.root, proof)
    note, proof = log.inclusion(number)
    assert verify_inclusion(leaf_hash(lines(log)[number]), number, now.size, now.root, proof)


def test_torn_last_line_is_cut_off_and_named(tmp_path: Path) -> None:
    filled(tmp_path, 3).checkpoint()
    with (tmp_path / ENTRIES).open("ab") as file:
        file.write(b'{"at":"2026-11-29T13:21:0')
    again = Log(tmp_path, ORIGIN)
    again.append([("b", {})])
    kinds = [parse(line).kind for line in lines(again)]
    assert kinds == ["job.accepted"] * 3 + [RECOVERED, "b"]
    assert parse(lines(again)[3]).data["bytes"] == 25


def test_torn_first_line_is_cut_off(tmp_path: Path) -> None:
    Log(tmp_path, ORIGIN)
    (tmp_path / ENTRIES).write_bytes(b'{"at"')
    again = Log(tmp_path, ORIGIN)
    again.append([("b", {})])
    assert [parse(line).kind for line in lines(again)] == [RECOVERED, "b"]


@pytest.mark.process
def test_program_that_is_killed_while_it_appends_leaves_whole_entries(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from fedproc.common.tlog.log import Log\n"
        f"log = Log(pathlib.Path(sys.argv[1]), {ORIGIN!r})\n"
        "while True:\n    log.append([('a', {'x': 'y' * 3000})] * 3); print(log.size, flush=True)\n"
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        answered = [int(process.stdout.readline()) for _ in range(5)][-1]
        process.kill()
        process.wait()
        again = Log(tmp_path, ORIGIN)
        again.append([("b", {})])
        assert again.size > answered
        assert [parse(line).number for line in lines(again)] == list(range(again.size))


@pytest.mark.slow
def test_writers_of_several_programs_come_one_after_the_other(tmp_path: Path) -> None:
    logs = [Log(tmp_path, ORIGIN) for _ in range(4)]

    def write(log: Log) -> None:
        for number in range(25):
            log.append([("a", {"n": number})] * 2)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, logs))
    assert [parse(line).number for line in lines(logs[0])] == list(range(200))
    assert len({log.checkpoint() for log in logs}) == 1
    assert Log(tmp_path, ORIGIN).checkpoint() == logs[0].checkpoint()


def test_full_disk_adds_nothing_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, really = filled(tmp_path, 2), os.write

    def half(descriptor: int, content: bytes) -> int:
        if len(content) > 20:
            return really(descriptor, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        with pytest.raises(LogError, match=r"cannot be written: No space left on device; make room there"):
            log.append([("b", {}), ("c", {})])
    log.append([("d", {})])
    assert [parse(line).kind for line in lines(log)] == ["job.accepted", "job.accepted", "d"]


@pytest.fixture
@needs("needs_root")
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_disk_that_is_really_full_takes_entries_again_when_there_is_room(small_disk: Path) -> None:
    log = filled(small_disk / "tlog", 1)
    (small_disk / "fill").write_bytes(b"x" * (180 << 10))
    with pytest.raises(LogError, match="No space left on device; make room there"):
        log.append([("b", {"x": "y" * 100_000})])
    (small_disk / "fill").unlink()
    log.append([("c", {"x": "y" * 100_000})])
    assert [parse(line).kind for line in lines(log)] == ["job.accepted", "c"]
    assert Log(small_disk / "tlog", ORIGIN).size == 2


def test_hashes_without_room_add_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(tmp_path, 2)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(LogError, match="No space left"):
            log.append([("b", {})])
    log.append([("c", {})])
    assert [parse(line).kind for line in lines(log)] == ["job.accepted", "job.accepted", "c"]
    assert Log(tmp_path, ORIGIN).checkpoint() == log.checkpoint()


def test_disk_that_does_not_confirm_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(tmp_path, 2)

    def fails(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fails)
        with pytest.raises(LogError, match="Input/output error; look at the disk"):
            log.append([("b", {})])
    assert len(lines(log)) == log.size == 2


def test_entry_that_is_too_large_is_refused_and_nothing_with_it(tmp_path: Path) -> None:
    log = filled(tmp_path, 1)
    with pytest.raises(LogError, match="are the most"):
        log.append([("a", {}), ("b", {"x": "y" * (1 << 20)})])
    assert len(lines(log)) == log.size == 1


def cut(folder: Path) -> None:
    path = folder / ENTRIES
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def edit_last(folder: Path) -> None:
    path = folder / ENTRIES
    path.write_bytes(path.read_bytes().replace(b'"j-8"', b'"j-0"'))


def edit_first(folder: Path) -> None:
    path = folder / ENTRIES
    path.write_bytes(path.read_bytes().replace(b'"j-0"', b'"j-8"', 1))
    (folder / HASHES).unlink()


def lose_key(folder: Path) -> None:
    (folder / KEY).unlink()


def lose_public_key(folder: Path) -> None:
    (folder / VERIFIER).write_text("x")


def garble(folder: Path) -> None:
    with (folder / ENTRIES).open("ab") as file:
        file.write(b"\xff\xfe\n")


@pytest.mark.parametrize("harm", [cut, edit_last, edit_first, lose_key, garble])
def test_log_that_was_harmed_is_not_added_to(tmp_path: Path, harm: object) -> None:
    filled(tmp_path, 9).checkpoint()
    harm(tmp_path)  # type: ignore[operator]
    before = (tmp_path / ENTRIES).read_bytes()
    for _ in range(2):  # also when it is opened once more
        with pytest.raises(LogDamagedError):
            Log(tmp_path, ORIGIN)
    assert (tmp_path / ENTRIES).read_bytes() == before


def test_log_that_is_cut_beside_a_lost_file_of_hashes_is_not_added_to(tmp_path: Path) -> None:
    filled(tmp_path, 9).checkpoint()
    cut(tmp_path)
    (tmp_path / HASHES).unlink()
    with pytest.raises(LogDamagedError, match="had 9 at its last checkpoint"):
        Log(tmp_path, ORIGIN)


def test_log_that_is_cut_while_a_program_has_it_open_is_not_added_to(tmp_path: Path) -> None:
    log = filled(tmp_path, 9)
    cut(tmp_path)
    with pytest.raises(LogDamagedError, match="its end was cut off"):
        log.append([("b", {})])


def test_log_whose_file_was_replaced_is_not_added_to(tmp_path: Path) -> None:
    log = filled(tmp_path, 2)
    shutil.copy(tmp_path / ENTRIES, tmp_path / "copy")
    (tmp_path / "copy").rename(tmp_path / ENTRIES)
    with pytest.raises(LogDamagedError, match="another file has taken its place"):
        log.append([("b", {})])


def test_log_without_its_folder_says_so(tmp_path: Path) -> None:
    log = filled(tmp_path / "tlog", 2)
    shutil.rmtree(tmp_path / "tlog")
    with pytest.raises(LogError, match="cannot be written: No such file"):
        log.append([("b", {})])


def test_last_line_is_found_however_long(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content, last in (
        (b"", None), (b"\n", b""), (b"a\n", b"a"), (b"a", None), (b"a\nb\n", b"b"), (b"a\nb", None),
        (b"a\n" + b"x" * 200_000 + b"\n", b"x" * 200_000), (b"x" * 200_000 + b"\n", b"x" * 200_000),
    ):  # fmt: skip
        path.write_bytes(content)
        file = os.open(path, os.O_RDONLY)
        assert _last_line(file, len(content)) == last
        os.close(file)


def test_checkpoint_lies_in_the_folder(tmp_path: Path) -> None:
    log = filled(tmp_path, 4)
    note = log.checkpoint()
    assert (tmp_path / CHECKPOINT).read_text() == note
    assert opened(note, NoteVerifier.parse((tmp_path / VERIFIER).read_text())).size == 4
    assert all(json.loads(line) for line in lines(log))


# -- its cache of hashes -------------------------------------------------------------------------


def flip(folder: Path, at: int) -> None:
    content = bytearray((folder / HASHES).read_bytes())
    content[at * 32] ^= 1
    (folder / HASHES).write_bytes(content)


@pytest.mark.parametrize("at", range(16))
def test_damaged_hashes_are_no_damaged_log(tmp_path: Path, at: int) -> None:
    note = filled(tmp_path, 9).checkpoint()
    flip(tmp_path, at)
    log = Log(tmp_path, ORIGIN)
    log.append([("b", {})])
    shown, proof = log.consistency(9)
    before, after = (opened(text, NoteVerifier.parse(log.verifier)) for text in (note, shown))
    assert verify_consistency(9, 10, before.root, after.root, proof)


@pytest.mark.parametrize("at", range(16))
def test_hashes_that_are_damaged_while_the_log_is_open_prove_nothing_false(tmp_path: Path, at: int) -> None:
    log = filled(tmp_path, 9)
    roots = [log.root_at(size) for size in range(10)]
    flip(tmp_path, at)
    for old in range(1, 9):
        shown, proof = log.consistency(old)
        root = opened(shown, NoteVerifier.parse(log.verifier)).root
        assert verify_consistency(old, 9, roots[old], root, proof)
    assert Log(tmp_path, ORIGIN).checkpoint() == log.checkpoint()


def test_hashes_of_before_a_power_cut_are_compared_with_the_entries(tmp_path: Path) -> None:
    """A page of theirs may have come to the disk as zeros; its last hash is right."""
    note = filled(tmp_path, 9).checkpoint()
    flip(tmp_path, 3)
    (tmp_path / "hashes.boot").write_text("an earlier one")
    whole = Log(tmp_path, ORIGIN)
    assert whole.checkpoint() == note
    assert tree_root(5, lambda at: (tmp_path / HASHES).read_bytes()[at * 32 : at * 32 + 32]) == whole.root_at(5)


def test_opening_that_fails_leaves_no_file_open(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    cut(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(LogDamagedError):
            Log(tmp_path, ORIGIN)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
