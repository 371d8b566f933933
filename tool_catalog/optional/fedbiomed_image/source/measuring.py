"""The network's arrays by the names that PyTorch has for them, and its measures at one site, in numpy.

``library/network`` is the same network; a convolution's weights are a matrix there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import network
import numpy as np
from patches.images import SiteImages
from patches.measures import measure

TORCH = (
    "0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias", "6.weight", "6.bias", "7.weight", "7.bias",
    "10.weight", "10.bias", "1.running_mean", "1.running_var", "7.running_mean", "7.running_var",
)  # fmt: skip
"""in the order of ``network.NAMES``"""
COUNTS = ("1.num_batches_tracked", "7.num_batches_tracked")
"""which nothing depends on"""


def shapes(size: int) -> dict[str, tuple[int, ...]]:
    """Of PyTorch's arrays."""
    found = {name: array.shape for name, array in zip(TORCH, network.start(size, 0), strict=True)}
    for number, (before, after) in zip(
        (0, 4, 6), zip(network.CHANNELS, network.CHANNELS[1:], strict=False), strict=True
    ):
        found[f"{number}.weight"] = (after, before, 3, 3)
    return {**found, **dict.fromkeys(COUNTS, ())}


def named(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """As ``library/network`` names and shapes them: the arrays of the model's file."""
    arrays = [np.asarray(params[name], dtype=np.float32) for name in TORCH]
    flat = [array.reshape(len(array), -1) if array.ndim == 4 else array for array in arrays]
    return dict(zip(network.NAMES, flat, strict=True))


def of(params: Mapping[str, Any], site: SiteImages) -> dict[str, float]:
    """Loss on what is trained on; loss and accuracy on what is held out."""
    return asdict(measure(list(named(params).values()), site))
