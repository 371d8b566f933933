"""Files of trained models that hold arrays alone: safetensors, and NumPy's npy and npz without objects."""

from __future__ import annotations

from pathlib import Path

from fedproc.site.policy.engine.model_files.accounting import arrays_of


def is_plain_model(path: Path) -> bool:
    """Whether it is one of these, and each of its bytes is of an array or has to be there for one.

    Raises :class:`OSError`.
    """
    with path.open("rb") as source:
        found = arrays_of(source, path.stat().st_size)
    return found is not None and not found.notes
