"""What a model's file holds by its heads; nothing is run. A plain one has not a byte that is of no array."""

from __future__ import annotations

from fedproc.site.policy.engine.model_files.arrays import Arrays, Source
from fedproc.site.policy.engine.model_files.npy import MAGIC, add_array
from fedproc.site.policy.engine.model_files.npz import LOCAL, arrays_of_npz
from fedproc.site.policy.engine.model_files.safetensors import arrays_of_safetensors


def arrays_of(source: Source, size: int) -> Arrays | None:
    """The arrays of a file of ``size`` bytes that can be sought in; None if it is no model of these kinds.

    ONNX has no mark of its own and is not told here. Raises :class:`OSError`.
    """
    source.seek(0)
    head = source.read(8)
    source.seek(0)
    if head.startswith(MAGIC):
        found = Arrays()
        add_array(found, source, size)
        return found
    if head.startswith(LOCAL):
        return arrays_of_npz(source, size)
    return arrays_of_safetensors(source, size)
