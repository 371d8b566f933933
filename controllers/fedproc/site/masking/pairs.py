"""Secrets that each two hosts of a masked sum have in common, and nobody else.

They follow from the hosts' enrolled keys (ECDH on P-256, NIST SP 800-56A, then HKDF of RFC 5869), which the signed
order names; nothing is exchanged. So there is nothing that an aggregator could put itself between: the centre would
have to sign another key as that of a host. The secret is bound to experiment, task, output and all parts, so that no
mask is used twice, and masks of hosts that were told of different parts never cancel.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDH
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.jwk import ECKey

from fedproc.common.errors import RefusedError
from fedproc.common.keys import load_key
from fedproc.contract.tool.privacy import LEAST_HOSTS
from fedproc.contract.wire.jws import canonical
from fedproc.contract.wire.messages import JobOrder
from fedproc.site.masking.ring import BYTES, MODULUS

_PURPOSE = "fedproc-secure-sums-1"
CODE = "masks.refused"


class Pairs:
    """The secrets of one job with each other host.

    ``known`` are thumbprints that the site has for hosts, if any, ``own`` names of parameters that may differ from host
    to host.

    Raises :class:`RefusedError` if the order names fewer than three hosts, not exactly those of the task, one key for
    two of them, another key or job for this host, or another key than ``known`` has.
    """

    def __init__(
        self, order: JobOrder, host: str, key: ECKey, known: Mapping[str, str], own: Collection[str] = ()
    ) -> None:
        self._host, self._key = host, key
        self._keys = {name: _public(name, masked.key) for name, masked in order.masks.items()}
        _check(order, host, key, self._keys, known)
        parts = [[name, order.masks[name].job, one.thumbprint()] for name, one in sorted(self._keys.items())]
        self._about = [_PURPOSE, order.experiment, order.task, parts, _calculation(order, own)]

    @property
    def hosts(self) -> list[str]:
        return sorted(self._keys)

    def masks(self, output: str, count: int) -> list[int]:
        """This host's masks for so many numbers of an output; those of all hosts add up to 0, number by number."""
        total = [0] * count
        for other, key in self._keys.items():
            if other != self._host:
                sign = 1 if self._host < other else -1
                stream = self._stream(other, key, output, count)
                total = [(mask + sign * word) % MODULUS for mask, word in zip(total, stream, strict=True)]
        return total

    def _stream(self, other: str, key: ECKey, output: str, count: int) -> list[int]:
        about = canonical([*self._about, output, sorted([self._host, other])])
        shared = self._key.private_key.exchange(ECDH(), key.public_key)  # type: ignore[union-attr]
        secret = HKDF(SHA256(), 32, salt=None, info=about).derive(shared)
        stream = Cipher(AES(secret), CTR(bytes(16))).encryptor().update(bytes(BYTES * count))
        return [int.from_bytes(stream[at : at + BYTES], "big") for at in range(0, BYTES * count, BYTES)]


def _calculation(order: JobOrder, own: Collection[str]) -> str:
    """A hash of what is calculated, as the orders of all hosts have it."""
    shared = {name: value for name, value in order.parameters.items() if name not in own}
    deadlines = order.deadlines.model_dump(mode="json")
    return sha256(canonical([order.tool.digest, shared, deadlines])).hexdigest()


def _public(host: str, jwk: Mapping[str, Any]) -> ECKey:
    try:
        return load_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
    except (ValueError, KeyError) as error:
        raise RefusedError(f"the order names no usable key of host {host} for masked sums", code=CODE) from error


def _check(order: JobOrder, host: str, key: ECKey, keys: Mapping[str, ECKey], known: Mapping[str, str]) -> None:
    if not keys:
        raise RefusedError(
            "its outputs are to leave masked, and the centre names no hosts to mask them with: update the centre",
            code=CODE,
        )
    if len(keys) < LEAST_HOSTS:
        raise RefusedError(
            f"a masked sum of {len(keys)} hosts tells each what the other has: choose {LEAST_HOSTS} or more", code=CODE
        )
    prints = {name: one.thumbprint() for name, one in keys.items()}
    if sorted(keys) != sorted(order.hosts.get(order.task, ())) or len(set(prints.values())) < len(prints):
        raise RefusedError("the order's hosts of a masked sum are not those of its task, each with its key", code=CODE)
    if prints.get(host) != key.thumbprint() or order.masks[host].job != order.job:
        raise RefusedError("the order names another key or job of this host for a masked sum", code=CODE)
    if others := sorted(name for name, one in prints.items() if known.get(name, one) != one):
        raise RefusedError(
            f"the key that the centre names of {', '.join(others)} is not the one that this site knows", code=CODE
        )
