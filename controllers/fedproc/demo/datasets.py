"""All datasets of the demo, made once and kept in the checkout's cache for the federations that start from it."""

from __future__ import annotations

import shutil
from pathlib import Path

from fedproc.common.locks import file_locked

_COMPLETE = "complete-4"
"""the mark of made data; another one where other data is made"""


def copy_datasets(cache: Path, folder: Path) -> None:
    """Copy what each host has from ``cache`` to ``folder``, which is not there yet.

    It is made where it is missing; federations that start at once wait for each other. Raises ImportError without the
    extra ``demo``.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with file_locked(cache / "data.lock"):
        made = cache / "data"
        if not (made / _COMPLETE).exists():
            shutil.rmtree(made, ignore_errors=True)
            _make(made)
            (made / _COMPLETE).touch()
        shutil.copytree(made, folder)


def _make(root: Path) -> None:
    from fedproc.demo.clinical import write_synthetic
    from fedproc.demo.data import write_datasets
    from fedproc.demo.guarded import write_guarded
    from fedproc.demo.imaging import write_images

    write_datasets(root)
    write_guarded(root)
    write_images(root)
    write_synthetic(root)
