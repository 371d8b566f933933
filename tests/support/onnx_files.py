"""Small ONNX models written byte by byte (onnx.proto3), as the package ``onnx`` is not among the dependencies."""

from __future__ import annotations

import struct
from collections.abc import Sequence

FLOAT = 1


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a message: a number, or bytes (a text, a message) with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def tensor(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    dims = b"".join(field(1, size) for size in shape)
    return dims + field(2, FLOAT) + field(8, name) + field(9, struct.pack(f"<{len(values)}f", *values))


def tensor_elsewhere(name: str, shape: Sequence[int], location: str) -> bytes:
    """A tensor whose values lie in another file."""
    dims = b"".join(field(1, size) for size in shape)
    entries = {"location": location, "offset": "0", "length": "8"}
    external = b"".join(field(13, field(1, key) + field(2, value)) for key, value in entries.items())
    return dims + field(2, FLOAT) + field(8, name) + external + field(14, 1)


def node(kind: str, inputs: Sequence[str], output: str, domain: str = "") -> bytes:
    names = b"".join(field(1, name) for name in inputs)
    return names + field(2, output) + field(4, kind) + (field(7, domain) if domain else b"")


def _value(name: str, columns: int) -> bytes:
    dims = field(1, field(2, "N")) + field(1, field(1, columns))
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, dims)))


def model(nodes: Sequence[bytes], tensors: Sequence[bytes], columns: int, outputs: int = 1) -> bytes:
    """From ``x`` (records x columns) to ``y``; opset 13."""
    graph = b"".join(field(1, each) for each in nodes) + field(2, "made for tests")
    graph += b"".join(field(5, each) for each in tensors)
    graph += field(11, _value("x", columns)) + field(12, _value("y", outputs))
    return field(1, 8) + field(2, "fedproc's tests") + field(7, graph) + field(8, field(2, 13))


def logistic(weights: Sequence[float], bias: float) -> bytes:
    """Sigmoid of a weighted sum."""
    nodes = [node("MatMul", ["x", "w"], "s"), node("Add", ["s", "b"], "t"), node("Sigmoid", ["t"], "y")]
    return model(nodes, [tensor("w", [len(weights), 1], weights), tensor("b", [1], [bias])], len(weights))
