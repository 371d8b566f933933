"""Signed notes and checkpoints in C2SP's form: one of another implementation, and whatever is no note."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fedproc.common.tlog.checkpoints import Checkpoint, opened, unverified
from fedproc.common.tlog.notes import NoteError, NoteSigner, NoteVerifier

KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = f"""{TEXT}
— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
"""the example of golang.org/x/mod/sumdb/note, which C2SP's form comes from"""

SIGNER = NoteSigner("example.org/hosts/UB", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
CHECKPOINT = Checkpoint("example.org/hosts/UB", 7, b"\x07" * 32)


def test_note_of_another_implementation_verifies() -> None:
    verifier = NoteVerifier.parse(KEY)
    assert str(verifier) == KEY
    assert verifier.open(NOTE) == TEXT


def test_changed_note_does_not_verify() -> None:
    with pytest.raises(NoteError, match="does not fit"):
        NoteVerifier.parse(KEY).open(NOTE.replace("problem is", "answer is"))


def test_note_of_another_key_of_that_name_does_not_verify() -> None:
    other = NoteSigner("PeterNeumann", Ed25519PrivateKey.generate())
    with pytest.raises(NoteError, match="not signed by PeterNeumann"):
        other.verifier.open(NOTE)


def test_note_may_have_more_signatures_than_one() -> None:
    note = SIGNER.sign(CHECKPOINT.text) + "— a.witness.example AAAAAAAAAAAA\n"
    assert opened(note, SIGNER.verifier) == CHECKPOINT


def test_checkpoint_has_the_form_of_c2sp() -> None:
    root = base64.b64encode(b"\x07" * 32).decode()
    assert CHECKPOINT.text == f"example.org/hosts/UB\n7\n{root}\n"
    assert CHECKPOINT.signed(SIGNER).startswith(f"{CHECKPOINT.text}\n— example.org/hosts/UB ")


def test_checkpoint_may_be_extended_by_lines() -> None:
    assert opened(SIGNER.sign(CHECKPOINT.text + "Timestamp: 1\n"), SIGNER.verifier) == CHECKPOINT


def test_checkpoint_of_another_log_is_not_this_ones() -> None:
    with pytest.raises(NoteError, match="not its own"):
        opened(SIGNER.sign(CHECKPOINT.text.replace("UB", "BSC")), SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    ["", "x\n", "x\n1\n", "x\n01\nBwc=\n", "x\n-1\n" + "A" * 44 + "\n", "x\n1\nBwc=\n", "\n1\n" + "A" * 43 + "=\n",
     "x\n" + "9" * 40 + "\n" + "A" * 43 + "=\n", "x\n٣\n" + "A" * 43 + "=\n"],
)  # fmt: skip
def test_note_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        opened(SIGNER.sign(text), SIGNER.verifier)


@pytest.mark.slow
@given(st.text())
def test_any_text_is_no_note(text: str) -> None:
    for read in (SIGNER.verifier.open, unverified):
        with pytest.raises(NoteError):
            read(text)


@pytest.mark.slow
@given(st.text())
def test_any_text_is_no_key(text: str) -> None:
    with pytest.raises(NoteError):
        NoteVerifier.parse(text)


def test_key_of_another_kind_is_refused() -> None:
    with pytest.raises(NoteError, match="kind Ed25519"):
        NoteVerifier.parse(KEY.replace("+ARpc", "+Ahpc"))
