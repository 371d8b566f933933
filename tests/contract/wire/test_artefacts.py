"""What one host encrypts to another's key, and what becomes of it on the way."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from fedproc.common.errors import UnreadableError
from fedproc.common.keys import public_jwk
from fedproc.contract.wire.artefacts import CHUNK, SMALL, decrypt_file, encrypt_file
from fedproc.contract.wire.jws import decrypt, encrypt_to

KEY, OTHER = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
SIZES = [0, 1, SMALL, SMALL + 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5]


def encrypted(folder: Path, size: int) -> tuple[bytes, Path]:
    content = hashlib.shake_128(b"model").digest(size)
    source, target = folder / "plain", folder / "encrypted"
    source.write_bytes(content)
    assert encrypt_file(source, target, public_jwk(KEY)) == hashlib.sha256(content).hexdigest()
    return content, target


@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_any_size_is_read_by_its_receiver_alone(tmp_path: Path, size: int) -> None:
    content, target = encrypted(tmp_path, size)
    decrypt_file(target, tmp_path / "read", KEY)
    assert (tmp_path / "read").read_bytes() == content
    assert len(content) < 16 or content[:16] not in target.read_bytes()
    with pytest.raises(UnreadableError, match="this host's key"):
        decrypt_file(target, tmp_path / "read", OTHER)


@pytest.mark.parametrize("size", [0, 1, SMALL])
def test_what_the_release_before_can_read_is_as_it_reads_it(tmp_path: Path, size: int) -> None:
    content, target = encrypted(tmp_path, size)
    assert decrypt(target.read_bytes(), KEY) == content


def test_what_the_release_before_wrote_is_read(tmp_path: Path) -> None:
    content = b"\xff" * 200_000
    (tmp_path / "jwe").write_bytes(encrypt_to(content, public_jwk(KEY)))
    decrypt_file(tmp_path / "jwe", tmp_path / "read", KEY)
    assert (tmp_path / "read").read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize(
    "harm",
    ["a byte", "the last chunk lost", "the end lost", "two chunks changed round", "more behind", "the key's line"],
)
def test_what_was_changed_on_the_way_is_not_read(tmp_path: Path, harm: str) -> None:
    _, target = encrypted(tmp_path, 3 * CHUNK)
    header, _, rest = target.read_bytes().partition(b"\n")
    one, two, three = (rest[n * (CHUNK + 16) : (n + 1) * (CHUNK + 16)] for n in range(3))
    harmed = {
        "a byte": [one, two[:-1], bytes([two[-1] ^ 1]), three],
        "the last chunk lost": [one, two],
        "the end lost": [one, two, three[:-1]],
        "two chunks changed round": [two, one, three],
        "more behind": [one, two, three, three],
        "the key's line": [one, two, three],
    }[harm]
    if harm == "the key's line":
        header = header[:-3]
    target.write_bytes(b"\n".join([header, b"".join(harmed)]))
    with pytest.raises(UnreadableError):
        decrypt_file(target, tmp_path / "read", KEY)


@pytest.mark.slow
def test_what_is_encrypted_as_a_whole_is_in_memory_up_to_a_bound(tmp_path: Path) -> None:
    with (tmp_path / "sealed").open("wb") as sealed:
        sealed.truncate((64 << 20) + 1)
    with pytest.raises(UnreadableError, match="more than 64 MiB; update the host"):
        decrypt_file(tmp_path / "sealed", tmp_path / "plain", ECKey.generate_key("P-256"))


def test_artefact_encrypted_on_a_curve_that_nobody_knows_is_refused() -> None:
    epk = {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"}
    parts = (json.dumps({"alg": "ECDH-ES", "enc": "A256GCM", "epk": epk}).encode(), b"", bytes(12), b"x", bytes(16))
    token = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    with pytest.raises(UnreadableError, match="cannot be decrypted"):
        decrypt(token, ECKey.generate_key("P-256"))
