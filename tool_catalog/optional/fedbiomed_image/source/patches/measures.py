"""How the network does on patches."""

from __future__ import annotations

from dataclasses import dataclass

import network
import numpy as np
import numpy.typing as npt
from network import Array

from .images import Patches, SiteImages

AT_ONCE = 128
"""patches that are measured together"""


@dataclass(frozen=True)
class Measures:
    """Mean losses (natural logarithm) over patches trained on and held out, and the share of the latter told right."""

    loss: float
    test_loss: float
    accuracy: float


def measure(arrays: list[Array], site: SiteImages) -> Measures:
    loss, _ = measured(arrays, site.train)
    test_loss, accuracy = measured(arrays, site.test)
    return Measures(loss, test_loss, accuracy)


def measured(arrays: list[Array], patches: Patches) -> tuple[float, float]:
    """Mean loss and accuracy."""
    losses, right = of_each(arrays, patches)
    return float(losses.mean()), float(right.mean())


def of_each(arrays: list[Array], patches: Patches) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The loss of each patch, and whether it is told right."""
    count = len(patches.labels)
    parts = [slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE)]
    found = np.concatenate([network.scores(arrays, patches.images[part]) for part in parts])
    return network.losses(found, patches.labels), found.argmax(axis=1) == patches.labels


def together(sites: list[SiteImages]) -> SiteImages:
    """The patches of several sites as those of one; who is held out at a site is held out here."""
    parts = [[getattr(site, part) for site in sites] for part in ("train", "test")]
    return SiteImages(*map(_joined, parts))


def _joined(parts: list[Patches]) -> Patches:
    images, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels"))
    before = np.cumsum([0, *(part.persons for part in parts)])
    whose = np.concatenate([part.whose + first for part, first in zip(parts, before, strict=False)])
    return Patches(images, labels, int(before[-1]), whose)
