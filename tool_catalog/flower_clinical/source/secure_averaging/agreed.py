"""What both ends know: how numbers become whole ones that can be masked, the masks, and records as bytes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from importlib import import_module

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from flwr.app import RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as Wire

LEAST_HOSTS = 3
"""of two, each knows the other's part when it sees the sum"""
MOST_HOSTS = 255
"""so that a sum of :data:`LEVELS` each stays below :data:`MODULUS`"""
RANGE = 64.0
"""numbers are masked from minus this to this"""
LEVELS = 1 << 24
"""so many whole numbers stand for them: steps of 8e-6"""
MODULUS = 1 << 32
PASSES = ("training", "measurement")
DRAWING = (
    "flwr.client.mod.secure_aggregation.secaggplus_mod",
    "flwr.server.workflow.secure_aggregation.secaggplus_workflow",
)
"""Flower's modules that draw masks"""


def strong_masks() -> None:
    """Have Flower's SecAgg+ draw its masks in this process by AES-256 from the whole of a seed.

    Flower 1.25 folds each seed to 32 bits, of which all can be tried in hours.
    """
    for module in map(import_module, DRAWING):
        assert hasattr(module, "pseudo_rand_gen")
        module.pseudo_rand_gen = masks


def masks(seed: bytes, modulus: int, shapes: Sequence[tuple[int, ...]]) -> list[npt.NDArray[np.int64]]:
    """Numbers from 0 to below ``modulus``, which is :data:`MODULUS`, for arrays of these shapes."""
    if modulus != MODULUS:
        raise ValueError(f"masks are modulo {MODULUS}")
    counts = [math.prod(shape) for shape in shapes]
    stream = Cipher(algorithms.AES256(hashlib.sha256(seed).digest()), modes.CTR(bytes(16))).encryptor()
    drawn = np.frombuffer(stream.update(bytes(4 * sum(counts))), "<u4").astype(np.int64)
    parts = np.split(drawn, np.cumsum(counts)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def packed(record: RecordDict) -> bytes:
    return recorddict_to_proto(record).SerializeToString()


def unpacked(content: bytes) -> RecordDict:
    """The record of :func:`packed`. Raises whatever Flower does for what is none."""
    return recorddict_from_proto(Wire.FromString(content))
