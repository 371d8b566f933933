"""The version of a dataset: a Merkle tree over its files (RFC 6962's), of which no rename, swap or cut is a match."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple


class Leaf(NamedTuple):
    """One file: path below the folder, what it is, length in bytes, sha256 of its bytes (of a link: of its target)."""

    path: bytes
    kind: str
    size: int
    sha256: bytes


def version_of(leaves: Iterable[Leaf]) -> str:
    """``sha256:`` and the tree's root; leaves come in the order of their paths. Memory stays flat.

    The hash of a leaf is over the lengths of path and kind, too, so that no two leaves are written alike.
    """
    tree: list[tuple[int, bytes]] = []
    for leaf in leaves:
        tree.append((0, hashlib.sha256(b"\0" + _written(leaf)).digest()))
        while len(tree) > 1 and tree[-1][0] == tree[-2][0]:
            _join(tree)
    while len(tree) > 1:
        _join(tree)
    root = tree[0][1] if tree else hashlib.sha256().digest()
    return f"sha256:{root.hex()}"


def _join(tree: list[tuple[int, bytes]]) -> None:
    _, right = tree.pop()
    height, left = tree.pop()
    tree.append((height + 1, hashlib.sha256(b"\1" + left + right).digest()))


def _written(leaf: Leaf) -> bytes:
    kind = leaf.kind.encode()
    head = len(leaf.path).to_bytes(4, "big") + leaf.path + len(kind).to_bytes(1, "big") + kind
    return head + leaf.size.to_bytes(8, "big") + leaf.sha256
