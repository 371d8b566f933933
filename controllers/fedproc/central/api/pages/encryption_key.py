"""The public key to which somebody wants results encrypted, as it is pasted into a form."""

from __future__ import annotations

from fedproc.contract.wire.crypt4gh import key_of

LONGEST = 2_000
"""characters that are looked at"""
_PRIVATE = "PRIVATE KEY"


def as_sent(pasted: str) -> str:
    """The middle of a file that crypt4gh-keygen has made, or that alone; a private key is dropped."""
    lines = [line.strip() for line in pasted[:LONGEST].splitlines()]
    if any(_PRIVATE in line for line in lines):
        return _PRIVATE
    return "".join(line for line in lines if not line.startswith("-----"))


def problem_of(key: str) -> str | None:
    """What is wrong with it, for its field; None where there is nothing, or no key is given."""
    if key == _PRIVATE:
        return "this is a private key, which nobody else may have: paste the public one; it was not kept here"
    try:
        if key:
            key_of(key)
    except ValueError as error:
        return f"{error}; crypt4gh-keygen makes a pair of keys"
    return None


def shown(key: str) -> str:
    """What stands in the form."""
    return "" if key == _PRIVATE else key
