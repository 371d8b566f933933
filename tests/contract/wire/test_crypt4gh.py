"""Files and keys as GA4GH's own tool writes and reads them; it is the oracle, in both directions."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedproc.client.crypt4gh_keys import read_private, read_public
from fedproc.common.errors import FedprocError, InvalidInputError, UnreadableError
from fedproc.common.files import sha256_of
from fedproc.contract.wire.crypt4gh import SEGMENT, decrypt_file, encrypt_file, key_of

pytestmark = pytest.mark.slow

SIZES = [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 7]
PROGRAMS = Path(sys.executable).parent


def never() -> str:
    raise AssertionError("no passphrase is to be asked for")


def make_keys(folder: Path, name: str, passphrase: str | None = None) -> tuple[Path, Path]:
    """A pair by ``crypt4gh-keygen``: private, public."""
    private, public = folder / f"{name}.sec", folder / f"{name}.pub"
    command = [PROGRAMS / "crypt4gh-keygen", "-f", "--sk", private, "--pk", public]
    more = ["--nocrypt"] if passphrase is None else []
    if passphrase is None:
        subprocess.run([*command, *more], check=True, capture_output=True)
    else:
        from crypt4gh.keys import c4gh

        c4gh.generate(str(private), str(public), passphrase.encode(), None)
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"), "rosa")


@pytest.mark.process
@pytest.mark.parametrize("size", SIZES)
def test_what_we_encrypt_the_tool_decrypts_and_the_other_way(
    keys: tuple[Path, Path], tmp_path: Path, size: int
) -> None:
    private, public = keys
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    plain.write_bytes(os.urandom(size))
    assert encrypt_file(plain, sealed, read_public(public)) == sha256_of(plain)
    if size > 16:
        assert plain.read_bytes()[:64] not in sealed.read_bytes()
    with sealed.open("rb") as given:
        tool = [PROGRAMS / "crypt4gh", "decrypt", "--sk", private]
        assert subprocess.run(tool, stdin=given, check=True, capture_output=True).stdout == plain.read_bytes()
    theirs, back = tmp_path / "theirs", tmp_path / "back"
    with plain.open("rb") as given, theirs.open("wb") as written:
        tool = [PROGRAMS / "crypt4gh", "encrypt", "--sk", private, "--recipient_pk", public]
        subprocess.run(tool, stdin=given, stdout=written, check=True)
    assert decrypt_file(theirs, back, read_private(private, never)) == sha256_of(plain)
    assert back.read_bytes() == plain.read_bytes()


def test_key_with_a_passphrase_is_read_by_the_right_one_alone(tmp_path: Path) -> None:
    private, public = make_keys(tmp_path, "locked", "a passphrase")
    key = read_private(private, lambda: "a passphrase")
    (tmp_path / "plain").write_bytes(b"numbers")
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", read_public(public))
    assert decrypt_file(tmp_path / "sealed", tmp_path / "back", key) == sha256_of(tmp_path / "plain")
    with pytest.raises(InvalidInputError, match="passphrase"):
        read_private(private, lambda: "another")


@pytest.fixture
def sealed(keys: tuple[Path, Path], tmp_path: Path) -> tuple[Path, bytes]:
    (tmp_path / "plain").write_bytes(os.urandom(2 * SEGMENT + 100))
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", read_public(keys[1]))
    return tmp_path / "sealed", read_private(keys[0], never)


@pytest.mark.parametrize("place", [0, 9, 13, 17, 40, 60, 100, 130, 200, SEGMENT + 200, -1])
def test_changed_byte_is_found_wherever_it_is(sealed: tuple[Path, bytes], tmp_path: Path, place: int) -> None:
    path, key = sealed
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableError):
        decrypt_file(path, tmp_path / "back", key)


def test_another_key_and_what_is_no_such_file_are_told(sealed: tuple[Path, bytes], tmp_path: Path) -> None:
    path, key = sealed
    with pytest.raises(UnreadableError, match="not encrypted to this key"):
        decrypt_file(path, tmp_path / "back", os.urandom(32))
    for content in (b"", b"crypt4gh", b"crypt4gh" + b"\xff" * 100, os.urandom(5000)):
        path.write_bytes(content)
        with pytest.raises(UnreadableError):
            decrypt_file(path, tmp_path / "back", key)


def test_whole_segments_that_are_cut_off_show_in_the_hash(sealed: tuple[Path, bytes], tmp_path: Path) -> None:
    """The format does not say which is the last."""
    path, key = sealed
    path.write_bytes(path.read_bytes()[: 124 + SEGMENT + 28])
    assert decrypt_file(path, tmp_path / "back", key) != sha256_of(tmp_path / "plain")


@pytest.mark.parametrize("bad", ["", "x", "A" * 44, base64.b64encode(bytes(32)).decode(), "é" * 44, "A" * 43 + "B"])
def test_what_is_no_key_and_one_that_everybody_could_read_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="Crypt4GH public key"):
        key_of(bad)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"-----BEGIN CRYPT4GH PUBLIC KEY-----\nAA\n-----END", b"ssh-ed25519 AA"]
)
def test_odd_files_of_keys_are_told_and_end_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    for read in (read_public, lambda place: read_private(place, never)):
        with pytest.raises(InvalidInputError, match="key"):
            read(path)
    with pytest.raises(FedprocError):
        read_public(tmp_path / "none")
