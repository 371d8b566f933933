"""Keys: read in one place, named by their thumbprint."""

from __future__ import annotations

from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from fedproc.common.errors import InvalidInputError
from fedproc.common.keys import read_key, read_keys, signer_for
from fedproc.contract.wire import jws


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "dispatch.key"
    path.write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
    return path


def test_signer_of_a_path_or_file_uri_signs_what_its_public_half_verifies(pem: Path) -> None:
    for place in (pem, f"file://{pem}"):
        signer = signer_for(place)
        token = signer.sign(b"payload", typ="x+jws")
        assert jws.verify(token, read_keys([pem]), typ="x+jws") == b"payload"
        assert signer.public["kid"] == signer.kid
        assert "d" not in signer.public


def test_signer_of_another_scheme_says_what_to_give() -> None:
    with pytest.raises(InvalidInputError, match="pkcs11"):
        signer_for("pkcs11:token=dispatch")


def test_key_that_cannot_be_read_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"none\.key: cannot be read"):
        read_key(tmp_path / "none.key")
    (tmp_path / "other.key").write_bytes(ECKey.generate_key("P-384").as_pem(private=True))
    with pytest.raises(InvalidInputError, match=r"other\.key: the key is on curve P-384"):
        read_key(tmp_path / "other.key")
