"""How a dataset is cited: as this host's settings say it, else as the dataset itself or its Data API does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from fedproc.contract.wire.datasets import MOST_CREATORS, NAME_LENGTH
from fedproc.site.dataset_settings import DatasetSettings


def cited(entry: DatasetSettings, title: object = None, creators: object = None) -> dict[str, Any]:
    """``title`` and ``creators`` of an offer, where they are known.

    What is no text is passed over, and what is too long is cut: for a citation no dataset is withheld.
    """
    names = [each for each in creators if isinstance(each, str)] if _is_list(creators) else []
    given = {
        "title": entry.title or (title[:NAME_LENGTH] if isinstance(title, str) else ""),
        "creators": entry.creators or tuple(name[:NAME_LENGTH] for name in names[:MOST_CREATORS]),
    }
    return {key: value for key, value in given.items() if value}


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)
