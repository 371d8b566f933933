"""Files: whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fedproc.common.files import files_below, partial_of, replacing, sha256_of, write_atomically


def test_hash_is_that_of_all_bytes(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_written_file_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "a", b"one", 0o644)
    finally:
        os.umask(before)
    write_atomically(tmp_path / "key", b"secret", 0o600)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_file_is_replaced_and_leftovers_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a"
    partial_of(path).write_bytes(b"left by a program that was killed")
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_block_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="half way"), replacing(path) as partial:
        partial.write_bytes(b"half")
        raise ValueError("half way")
    assert path.read_bytes() == b"before"
    assert not partial_of(path).exists()


def test_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_files_below_are_all_or_an_error(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    assert files_below(tmp_path) == [tmp_path / "a" / "b" / "file"]
    with pytest.raises(FileNotFoundError):
        files_below(tmp_path / "none")
