"""Merkle trees of RFC 6962 (section 2): roots, proofs of inclusion and of consistency, and their verification.

The hashes of all whole subtrees are kept in one sequence, each right after the leaf that completed it, so that an
append only adds to it and a proof reads a few of them. :func:`position` says where each stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Stored = Callable[[int], bytes]
"""gives the hash at a position of that sequence"""


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def stored_count(size: int) -> int:
    """How many whole subtrees a tree of ``size`` leaves has, its leaves included."""
    return 2 * size - size.bit_count()


def position(level: int, index: int) -> int:
    """Where the hash of the ``index``-th subtree of 2**``level`` leaves stands."""
    last_leaf = ((index + 1) << level) - 1
    return stored_count(last_leaf) + level


class Frontier:
    """The right edge of a tree: enough to append and to know the root. ``size`` leaves."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)
        """the roots of the whole subtrees that make up the tree, the largest first"""

    @classmethod
    def of(cls, size: int, stored: Stored) -> Frontier:
        """The edge of a tree whose hashes are ``stored``."""
        levels = (level for level in reversed(range(size.bit_length())) if size >> level & 1)
        return cls(size, (stored(position(level, (size >> level) - 1)) for level in levels))

    def copy(self) -> Frontier:
        return Frontier(self.size, self._peaks)

    @property
    def root(self) -> bytes:
        root = None
        for peak in reversed(self._peaks):
            root = peak if root is None else node_hash(peak, root)
        return EMPTY_ROOT if root is None else root

    def append(self, leaf: bytes) -> list[bytes]:
        """Add a leaf's hash; the hashes that are to be stored: its own, and those of subtrees that it completes."""
        added, rest = [leaf], self.size
        while rest & 1:
            added.append(node_hash(self._peaks.pop(), added[-1]))
            rest >>= 1
        self._peaks.append(added[-1])
        self.size += 1
        return added


def tree_root(size: int, stored: Stored) -> bytes:
    """The root of the first ``size`` leaves."""
    return Frontier.of(size, stored).root


def inclusion_proof(index: int, size: int, stored: Stored) -> list[bytes]:
    """That the leaf ``index`` is in the tree of the first ``size`` leaves: PATH of RFC 6962, section 2.1.1."""
    _check_order(index + 1, size)
    return _path(index, 0, size, stored)


def consistency_proof(old: int, new: int, stored: Stored) -> list[bytes]:
    """That the tree of ``old`` leaves is the beginning of that of ``new``: PROOF of RFC 6962, section 2.1.2.

    Nothing needs to be proved of an empty tree.
    """
    _check_order(old, new)
    return _subproof(old, 0, new, True, stored) if old else []


def verify_inclusion(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a leaf's hash is at ``index`` of the tree with this root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(step, found)
            at, last = _up(at, last)
        else:
            found = node_hash(found, step)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree with ``old_root`` is the beginning of that with ``new_root`` (RFC 9162, section 2.1.4.2)."""
    if old in (0, new):
        return not proof and (old_root == new_root if old else old_root == EMPTY_ROOT) and 0 <= old <= new
    if not proof or not 0 < old < new:
        return False
    first, *rest = proof if old & (old - 1) else [old_root, *proof]
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = first
    for step in rest:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = node_hash(step, before), node_hash(step, after)
            at, last = _up(at, last)
        else:
            after = node_hash(after, step)
        at, last = at >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def sound_consistency(old: int, now: Frontier, stored: Stored) -> list[bytes] | None:
    """The proof up to ``now``; None if it does not hold, as what is stored was damaged."""
    proof = consistency_proof(old, now.size, stored)
    return proof if verify_consistency(old, now.size, tree_root(old, stored), now.root, proof) else None


def sound_inclusion(index: int, now: Frontier, stored: Stored) -> list[bytes] | None:
    """As :func:`sound_consistency`."""
    proof, leaf = inclusion_proof(index, now.size, stored), stored(position(0, index))
    return proof if verify_inclusion(leaf, index, now.size, now.root, proof) else None


def _up(at: int, last: int) -> tuple[int, int]:
    """Past the levels at which a lone right edge has no neighbour."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _check_order(smaller: int, larger: int) -> None:
    if not 0 <= smaller <= larger:
        raise ValueError(f"there is no proof from {smaller} to {larger} leaves")


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _subtree(low: int, high: int, stored: Stored) -> bytes:
    """The hash over the leaves from ``low`` to before ``high``, as the recursion of RFC 6962 cuts them."""
    count = high - low
    if not count & (count - 1):
        return stored(position(count.bit_length() - 1, low // count))
    middle = low + _split(count)
    return node_hash(_subtree(low, middle, stored), _subtree(middle, high, stored))


def _path(index: int, low: int, high: int, stored: Stored) -> list[bytes]:
    if high - low == 1:
        return []
    middle = low + _split(high - low)
    if index < middle:
        return [*_path(index, low, middle, stored), _subtree(middle, high, stored)]
    return [*_path(index, middle, high, stored), _subtree(low, middle, stored)]


def _subproof(old: int, low: int, high: int, known: bool, stored: Stored) -> list[bytes]:
    """``known``: the verifier has the hash over these leaves already."""
    if low + old == high:
        return [] if known else [_subtree(low, high, stored)]
    middle = low + _split(high - low)
    if low + old <= middle:
        return [*_subproof(old, low, middle, known, stored), _subtree(middle, high, stored)]
    return [*_subproof(low + old - middle, middle, high, False, stored), _subtree(low, middle, stored)]
