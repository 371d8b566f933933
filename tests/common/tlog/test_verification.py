"""What a log proves offline, and each way to forge it that is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedproc.common.errors import InvalidInputError
from fedproc.common.tlog.entries import LONGEST_LINE, link, parse
from fedproc.common.tlog.folder import CHECKPOINT, ENTRIES, VERIFIER
from fedproc.common.tlog.log import Log
from fedproc.common.tlog.verification import Findings, Kept, read_entries, read_lines, verify


def made(folder: Path, count: int = 6) -> str:
    """A log of so many entries; its checkpoint, which its witness has kept."""
    log = Log(folder, "x/hosts/UB")
    for number in range(count):
        log.append([("job.accepted", {"job": f"j-{number}"})])
    return log.checkpoint()


def against(folder: Path, note: str) -> Findings:
    return verify(folder, [Kept("the witness's checkpoint", note)])


def lines(folder: Path) -> list[bytes]:
    return (folder / ENTRIES).read_bytes().splitlines(keepends=True)


def write(folder: Path, content: list[bytes]) -> None:
    (folder / ENTRIES).write_bytes(b"".join(content))


def forge(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Write the log anew with its own key, as whoever has the machine can: chain, hashes and checkpoint fit."""
    content = change(lines(folder))
    for name in (ENTRIES, CHECKPOINT, "hashes"):
        (folder / name).unlink(missing_ok=True)
    (folder / ENTRIES).touch()
    log = Log(folder, "x/hosts/UB")
    for line in content:
        entry = parse(line.strip())
        log.append([(entry.kind, entry.data)])
    log.checkpoint()


def test_log_is_proved_up_to_the_checkpoint_of_its_witness(tmp_path: Path) -> None:
    note = made(tmp_path)
    Log(tmp_path, "x").append([("b", {})])
    found = against(tmp_path, note)
    assert found.whole
    assert (found.entries, found.covered) == (7, 6)
    assert "the first 6 entries are, byte by byte" in " ".join(found.proved)
    assert "the last 1 entries were not written anew" in " ".join(found.unproved)


def test_log_without_a_witness_does_not_prove_that_it_was_not_written_anew(tmp_path: Path) -> None:
    made(tmp_path)
    found = verify(tmp_path)
    assert found.whole
    assert "nobody has written the whole log anew" in " ".join(found.unproved)


EDITS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "cut tail": lambda content: content[:-2],
    "edited line": lambda content: [line.replace(b"j-2", b"j-9") for line in content],
    "edited last line": lambda content: [line.replace(b"j-5", b"j-9") for line in content],
    "swapped order": lambda content: [content[1], content[0], *content[2:]],
    "left out": lambda content: content[:2] + content[3:],
    "doubled": lambda content: [*content[:3], *content[2:]],
    "put in": lambda content: [*content[:3], content[0], *content[3:]],
    "emptied": lambda content: [],
}


@pytest.mark.parametrize("edit", EDITS)
def test_change_of_the_file_is_found(tmp_path: Path, edit: str) -> None:
    note = made(tmp_path)
    write(tmp_path, EDITS[edit](lines(tmp_path)))
    assert not against(tmp_path, note).whole
    assert not verify(tmp_path).whole, "by its own checkpoint"


@pytest.mark.parametrize("edit", EDITS)
def test_log_that_was_written_anew_is_found_by_its_witness(tmp_path: Path, edit: str) -> None:
    note = made(tmp_path)
    forge(tmp_path, EDITS[edit])
    assert not against(tmp_path, note).whole
    assert verify(tmp_path).whole, "by itself nothing shows it"


def test_backup_that_was_put_back_is_found_by_its_witness(tmp_path: Path) -> None:
    made(tmp_path / "log", 3)
    shutil.copytree(tmp_path / "log", tmp_path / "backup")
    log = Log(tmp_path / "log", "x")
    log.append([("b", {})])
    note = log.checkpoint()
    found = against(tmp_path / "backup", note)
    assert "is of 4 entries, and there are 3" in " ".join(found.problems)


def test_fork_is_found_by_its_witness(tmp_path: Path) -> None:
    made(tmp_path / "log", 3)
    shutil.copytree(tmp_path / "log", tmp_path / "fork")
    one, other = Log(tmp_path / "log", "x"), Log(tmp_path / "fork", "x")
    one.append([("shown to the centre", {})])
    other.append([("shown to the auditor", {})])
    assert "are not those" in " ".join(against(tmp_path / "fork", one.checkpoint()).problems)


def test_checkpoint_of_another_key_is_no_proof(tmp_path: Path) -> None:
    made(tmp_path / "a")
    note = made(tmp_path / "b")
    assert "not signed by" in " ".join(against(tmp_path / "a", note).problems)


def test_line_without_an_end_is_named(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / ENTRIES).write_bytes((tmp_path / ENTRIES).read_bytes()[:-9])
    assert "line 6 has no end" in " ".join(verify(tmp_path).problems)


def test_entries_alone_prove_their_order(tmp_path: Path) -> None:
    made(tmp_path / "log")
    (tmp_path / "alone").mkdir()
    shutil.copy(tmp_path / "log" / ENTRIES, tmp_path / "alone" / "anything.jsonl")
    found = verify(tmp_path / "alone" / "anything.jsonl")
    assert found.whole
    assert "there is no key" in " ".join(found.unproved)
    with_key = verify(tmp_path / "alone" / "anything.jsonl", key=(tmp_path / "log" / VERIFIER).read_text())
    assert with_key.whole


def test_log_of_another_origin_is_not_this_one(tmp_path: Path) -> None:
    made(tmp_path / "a")
    Log(tmp_path / "b", "x/hosts/BSC").append([("b", {})])
    shutil.copy(tmp_path / "a" / ENTRIES, tmp_path / "b" / ENTRIES)
    assert "line 1: it does not follow" in " ".join(verify(tmp_path / "b").problems)


def test_place_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="there is no log here"):
        verify(tmp_path)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_any_file_is_verified_without_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / ENTRIES
    path.write_bytes(content)
    assert verify(path).whole is not bool(content)
    assert list(read_entries(path)) == []


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("log")
    note = made(folder, 4)
    content = bytearray((folder / ENTRIES).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]))
    (folder / ENTRIES).write_bytes(content)
    assert not against(folder, note).whole


def test_entry_names_the_hash_of_the_whole_line_before(tmp_path: Path) -> None:
    made(tmp_path)
    found = [line.strip() for line in lines(tmp_path)]
    assert [parse(line).previous for line in found[1:]] == [link(line) for line in found[:-1]]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_line_with_what_is_no_number_is_named(tmp_path: Path, number: str) -> None:
    line = '{"at":"x","data":{"x":1},"kind":"a","n":0,"prev":"' + "0" * 64 + '"}\n'
    (tmp_path / ENTRIES).write_text(line.replace('"x":1', f'"x":{number}'))
    assert any("line 1: it is no JSON" in problem for problem in verify(tmp_path).problems)


@pytest.mark.slow
def test_line_without_an_end_is_not_read_as_a_whole(tmp_path: Path) -> None:
    with (tmp_path / ENTRIES).open("wb") as file:
        file.truncate(64 << 20)
        file.seek(0, 2)
        file.write(b"\nx\n")
    assert [len(line) for line in read_lines(tmp_path / ENTRIES)] == [LONGEST_LINE + 2, 1]
    assert any("more than any entry" in problem for problem in verify(tmp_path).problems)
