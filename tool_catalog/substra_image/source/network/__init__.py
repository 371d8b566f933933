"""The demonstrator's convolutional network in numpy: forward, backward, Adam.

conv 3→12, batch norm, ReLU, 2×2 maximum, conv 12→20, ReLU, conv 20→32, batch norm, ReLU, linear to 2 classes; all
convolutions 3×3 with a border of zeros. At 224 by 224 pixels it has 811,214 parameters (EUCAIM/demo_dl_data).
Arrays are float32; images are channels × rows × columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
CHANNELS = (3, 12, 20, 32)
CLASSES = 2
EPSILON = 1e-5
MOMENTUM = 0.1
"""share of the present batch in the running moments"""
NAMES = (
    "conv1.weight", "conv1.bias", "norm1.weight", "norm1.bias", "conv2.weight", "conv2.bias", "conv3.weight",
    "conv3.bias", "norm3.weight", "norm3.bias", "linear.weight", "linear.bias",
    "norm1.mean", "norm1.variance", "norm3.mean", "norm3.variance",
)  # fmt: skip
LEARNED = 12
"""of the arrays; the others are running moments"""


def start(size: int, seed: int) -> list[Array]:
    """The first arrays, in the order of :data:`NAMES`, for images of ``size`` by ``size`` pixels (He, 2015)."""
    chance = np.random.default_rng(seed)
    arrays: list[Array] = []
    for before, after in pairwise(CHANNELS):
        spread = np.sqrt(2 / (before * 9))
        arrays += [_f32(chance.normal(0, spread, (after, before * 9))), np.zeros(after, np.float32)]
        if after != CHANNELS[2]:
            arrays += [np.ones(after, np.float32), np.zeros(after, np.float32)]
    inputs = CHANNELS[3] * (size // 2) ** 2
    arrays += [_f32(chance.normal(0, np.sqrt(1 / inputs), (CLASSES, inputs))), np.zeros(CLASSES, np.float32)]
    for after in (CHANNELS[1], CHANNELS[3]):
        arrays += [np.zeros(after, np.float32), np.ones(after, np.float32)]
    return arrays


def parameters(arrays: list[Array]) -> int:
    """How many are learned."""
    return sum(array.size for array in arrays[:LEARNED])


def scores(arrays: list[Array], images: Array) -> Array:
    """Images by classes: unnormalised log-probabilities, with the running moments."""
    return _Pass(arrays, training=False).forward(images)


def losses(found: Array, labels: npt.NDArray[np.int64]) -> Array:
    """Cross-entropy of each image (natural logarithm)."""
    shifted = found - found.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels])


@dataclass
class Adam:
    """Its usual constants (Kingma and Ba, 2015)."""

    rate: float
    first: list[Array] = field(default_factory=list)
    second: list[Array] = field(default_factory=list)
    steps: int = 0

    def step(self, arrays: list[Array], gradients: list[Array]) -> None:
        """Change the learned ones of ``arrays`` in place."""
        if not self.steps:
            self.first = [np.zeros_like(gradient) for gradient in gradients]
            self.second = [np.zeros_like(gradient) for gradient in gradients]
        self.steps += 1
        for number, gradient in enumerate(gradients):
            self.first[number] += 0.1 * (gradient - self.first[number])
            self.second[number] += 0.001 * (gradient**2 - self.second[number])
            scaled = self.first[number] / (1 - 0.9**self.steps)
            deviation = np.sqrt(self.second[number] / (1 - 0.999**self.steps))
            arrays[number] -= self.rate * scaled / (deviation + 1e-8)


def train_batch(arrays: list[Array], images: Array, labels: npt.NDArray[np.int64], optimiser: Adam) -> float:
    """One step on one batch, which changes ``arrays``; returns its mean loss before the step."""
    through = _Pass(arrays, training=True)
    found = through.forward(images)
    optimiser.step(arrays, through.backward(_error(found, labels)))
    return float(losses(found, labels).mean())


def gradients(arrays: list[Array], images: Array, labels: npt.NDArray[np.int64]) -> list[Array]:
    """Of the mean loss by the learned arrays; with the running moments, so that no image has a part in another's."""
    through = _Pass(arrays, training=False)
    return through.backward(_error(through.forward(images), labels))


def _error(found: Array, labels: npt.NDArray[np.int64]) -> Array:
    """The gradient of the mean loss by the scores."""
    shifted = np.exp(found - found.max(axis=1, keepdims=True))
    error = shifted / shifted.sum(axis=1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    return _f32(error / len(labels))


class _Pass:
    """One forward pass, and what the backward one needs of it."""

    def __init__(self, arrays: list[Array], *, training: bool) -> None:
        self._of = dict(zip(NAMES, arrays, strict=True))
        self._training = training
        self._kept: dict[str, Array] = {}

    def forward(self, images: Array) -> Array:
        x = self._relu("relu1", self._norm("norm1", self._conv("conv1", images)))
        x = self._relu("relu2", self._conv("conv2", self._pool(x)))
        x = self._relu("relu3", self._norm("norm3", self._conv("conv3", x)))
        self._kept["shape"] = np.array(x.shape)
        self._kept["flat"] = x.reshape(len(x), -1)
        return _f32(self._kept["flat"] @ self._of["linear.weight"].T + self._of["linear.bias"])

    def backward(self, error: Array) -> list[Array]:
        """The gradients of the learned arrays, in their order."""
        found: dict[str, Array] = {"linear.weight": error.T @ self._kept["flat"], "linear.bias": error.sum(axis=0)}
        x = (error @ self._of["linear.weight"]).reshape(self._kept["shape"])
        x = self._conv_back("conv3", self._norm_back("norm3", x * self._kept["relu3"], found), found)
        x = self._pool_back(self._conv_back("conv2", x * self._kept["relu2"], found))
        self._conv_back("conv1", self._norm_back("norm1", x * self._kept["relu1"], found), found)
        return [_f32(found[name]) for name in NAMES[:LEARNED]]

    def _conv(self, name: str, x: Array) -> Array:
        columns = _patches(x)
        self._kept[name] = columns
        made = columns @ self._of[f"{name}.weight"].T + self._of[f"{name}.bias"]
        return _f32(made.reshape(len(x), *x.shape[2:], -1).transpose(0, 3, 1, 2))

    def _conv_back(self, name: str, error: Array, found: dict[str, Array]) -> Array:
        n, after, rows, cols = error.shape
        flat = error.transpose(0, 2, 3, 1).reshape(-1, after)
        found[f"{name}.weight"], found[f"{name}.bias"] = flat.T @ self._kept[name], flat.sum(axis=0)
        spread = (flat @ self._of[f"{name}.weight"]).reshape(n, rows, cols, -1, 3, 3)
        padded = np.zeros((n, spread.shape[3], rows + 2, cols + 2), np.float32)
        for i in range(3):
            for j in range(3):
                padded[:, :, i : i + rows, j : j + cols] += spread[..., i, j].transpose(0, 3, 1, 2)
        return padded[:, :, 1:-1, 1:-1]

    def _norm(self, name: str, x: Array) -> Array:
        if self._training:
            mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
            for running, now in (("mean", mean), ("variance", variance)):
                self._of[f"{name}.{running}"][:] += MOMENTUM * (now - self._of[f"{name}.{running}"])
        else:
            mean, variance = self._of[f"{name}.mean"], self._of[f"{name}.variance"]
        deviation = np.sqrt(variance + EPSILON)
        standard = (x - _channels(mean)) / _channels(deviation)
        self._kept[name], self._kept[f"{name}.deviation"] = standard, deviation
        return _f32(standard * _channels(self._of[f"{name}.weight"]) + _channels(self._of[f"{name}.bias"]))

    def _norm_back(self, name: str, error: Array, found: dict[str, Array]) -> Array:
        standard, axes = self._kept[name], (0, 2, 3)
        found[f"{name}.weight"], found[f"{name}.bias"] = (error * standard).sum(axis=axes), error.sum(axis=axes)
        scaled = error * _channels(self._of[f"{name}.weight"])
        if not self._training:
            return _f32(scaled / _channels(self._kept[f"{name}.deviation"]))
        middle = scaled.mean(axis=axes, keepdims=True) + standard * (scaled * standard).mean(axis=axes, keepdims=True)
        return _f32((scaled - middle) / _channels(self._kept[f"{name}.deviation"]))

    def _relu(self, name: str, x: Array) -> Array:
        self._kept[name] = x > 0
        return x * self._kept[name]

    def _pool(self, x: Array) -> Array:
        n, channels, rows, cols = x.shape
        cells = x.reshape(n, channels, rows // 2, 2, cols // 2, 2)
        highest = cells.max(axis=(3, 5), keepdims=True)
        hit = cells == highest
        self._kept["pool"] = _f32(hit / hit.sum(axis=(3, 5), keepdims=True))
        return highest[:, :, :, 0, :, 0]

    def _pool_back(self, error: Array) -> Array:
        spread = error[:, :, :, None, :, None] * self._kept["pool"]
        n, channels, rows, _, cols, _ = spread.shape
        return spread.reshape(n, channels, rows * 2, cols * 2)


def _patches(x: Array) -> Array:
    """Images · rows · columns by channels · 3 · 3: what each place sees."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    n, channels, rows, cols = x.shape
    return seen.transpose(0, 2, 3, 1, 4, 5).reshape(n * rows * cols, channels * 9)


def _channels(values: Array) -> Array:
    return values[None, :, None, None]


def _f32(values: npt.ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float32)
