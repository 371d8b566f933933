"""The tree: the known roots of RFC 6962's own test data, and proofs of trees of any size."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.common.tlog.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    position,
    stored_count,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""of the first one, two, … leaves, as Certificate Transparency's own tests have them"""


class Tree:
    """A tree with its stored hashes, and its leaves for the recursion of the RFC as it stands there."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = [leaf_hash(leaf) for leaf in leaves]
        self.hashes: list[bytes] = []
        frontier = Frontier()
        for leaf in self.leaves:
            self.hashes += frontier.append(leaf)

    def __call__(self, place: int) -> bytes:
        return self.hashes[place]


def by_the_book(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return node_hash(by_the_book(leaves[:middle]), by_the_book(leaves[middle:]))


def test_roots_are_those_of_rfc_6962_test_data() -> None:
    tree = Tree(LEAVES)
    assert [tree_root(size, tree).hex() for size in range(1, 9)] == ROOTS
    assert tree_root(0, tree) == EMPTY_ROOT == hashlib.sha256(b"").digest()


def test_inclusion_proof_is_that_of_rfc_6962_test_data() -> None:
    tree = Tree(LEAVES)
    assert [step.hex() for step in inclusion_proof(5, 8, tree)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_consistency_proof_is_that_of_rfc_6962_test_data() -> None:
    tree = Tree(LEAVES)
    assert [step.hex() for step in consistency_proof(6, 8, tree)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.integers(0, 200))
@pytest.mark.slow
def test_stored_hashes_stand_where_they_are_looked_for(size: int) -> None:
    tree = Tree([bytes([n]) for n in range(size)])
    assert len(tree.hashes) == stored_count(size)
    assert [tree(position(0, n)) for n in range(size)] == tree.leaves
    assert tree_root(size, tree) == by_the_book(tree.leaves)


@given(st.data())
def test_frontier_of_stored_hashes_goes_on_as_the_one_that_wrote_them(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 100))
    tree = Tree([bytes([n]) for n in range(size)])
    again, whole = Frontier.of(size, tree), Tree([bytes([n]) for n in range(size + 5)])
    added = [stored for n in range(size, size + 5) for stored in again.append(leaf_hash(bytes([n])))]
    assert tree.hashes + added == whole.hashes
    assert again.root == tree_root(size + 5, whole)


@pytest.mark.slow
@given(st.data())
def test_inclusion_is_proved_of_the_leaf_alone(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 130))
    index = data.draw(st.integers(0, size - 1))
    tree = Tree([bytes([n]) for n in range(size)])
    proof, root = inclusion_proof(index, size, tree), tree_root(size, tree)
    assert verify_inclusion(tree.leaves[index], index, size, root, proof)
    assert not verify_inclusion(leaf_hash(b"another"), index, size, root, proof)
    assert not verify_inclusion(tree.leaves[index], index, size, leaf_hash(b"x"), proof)
    assert not verify_inclusion(tree.leaves[index], index, size, root, [*proof, root])
    other = data.draw(st.integers(-2, size + 2))
    assert verify_inclusion(tree.leaves[index], other, size, root, proof) is (other == index)


@pytest.mark.slow
@given(st.data())
def test_consistency_is_proved_of_a_beginning_alone(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 130))
    old = data.draw(st.integers(1, new))
    tree = Tree([bytes([n]) for n in range(new)])
    proof = consistency_proof(old, new, tree)
    before, after = tree_root(old, tree), tree_root(new, tree)
    assert verify_consistency(old, new, before, after, proof)
    assert not verify_consistency(old, new, leaf_hash(b"another past"), after, proof)
    assert not verify_consistency(old, new, before, leaf_hash(b"another present"), proof)
    assert not verify_consistency(old, new, before, after, [*proof, before])
    if proof:
        changed = data.draw(st.integers(0, len(proof) - 1))
        bad = [leaf_hash(b"bad") if n == changed else step for n, step in enumerate(proof)]
        assert not verify_consistency(old, new, before, after, bad)
        assert not verify_consistency(old, new, before, after, proof[:-1])


@pytest.mark.slow
@given(st.data())
def test_fork_has_no_proof(data: st.DataObject) -> None:
    """Of two logs that differ in one entry before ``old``, whatever proof either could give."""
    new = data.draw(st.integers(2, 60))
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, old - 1))
    honest = Tree([bytes([n]) for n in range(new)])
    forged = Tree([b"forged" if n == changed else bytes([n]) for n in range(new)])
    for proof in (consistency_proof(old, new, honest), consistency_proof(old, new, forged)):
        assert not verify_consistency(old, new, tree_root(old, honest), tree_root(new, forged), proof)


@pytest.mark.slow
@given(st.integers(-3, 3), st.integers(-3, 3), st.lists(st.binary(max_size=33), max_size=4))
def test_any_proof_is_judged_without_an_error(old: int, new: int, proof: list[bytes]) -> None:
    verify_consistency(old, new, EMPTY_ROOT, EMPTY_ROOT, proof)
    verify_inclusion(EMPTY_ROOT, old, new, EMPTY_ROOT, proof)


def test_proof_between_sizes_in_the_wrong_order_is_not_made() -> None:
    with pytest.raises(ValueError, match="from 5 to 3"):
        consistency_proof(5, 3, Tree(LEAVES))
