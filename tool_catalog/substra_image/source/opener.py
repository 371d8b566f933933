"""Substra's opener: what a compute plan's task gets of a site's data. The host has read and checked it before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import substratools
from patches.images import CHANNELS, Patches, SiteImages

FILE = "patches.npz"
PARTS = ("train", "test")


class Opener(substratools.Opener):
    """The patches of the only sample, to train on and held out."""

    def get_data(self, folders: list[str]) -> SiteImages:
        with np.load(Path(folders[0]) / FILE, allow_pickle=False) as kept:
            return SiteImages(*(_part(kept[f"{name}.grey"], kept[f"{name}.labels"]) for name in PARTS))

    def fake_data(self, n_samples: int | None = None) -> Any:
        raise NotImplementedError("no fake data: a task runs at the host that has the images")


def write(site: SiteImages, folder: Path) -> None:
    """What :class:`Opener` reads; all channels of a patch are the same."""
    arrays = {}
    for name in PARTS:
        patches: Patches = getattr(site, name)
        arrays |= {f"{name}.grey": patches.images[:, :1], f"{name}.labels": patches.labels}
    np.savez(folder / FILE, **arrays)


def _part(grey: Any, labels: Any) -> Patches:
    return Patches(np.repeat(grey, CHANNELS, axis=1), labels, 0, np.zeros(0, np.int64))
