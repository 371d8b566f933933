"""Files of trained models that hold arrays alone: safetensors, and NumPy's npy and npz without objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.counts import Against, refused, to_review
from fedproc.site.policy.engine.known import TERMS, Known
from fedproc.site.policy.engine.model_files.accounting import arrays_of

_NAMES = (TERMS, "dataset", "parameters", "order", "inputs")
"""from where an array of texts may have them: names of columns and terms, and whatever else was known before"""


def of_model(path: Path, known: Known) -> Iterator[Against]:
    """What the rules have against a model's file: bytes of no array, and texts that nobody knew before.

    Raises :class:`OSError`.
    """
    with path.open("rb") as source:
        found = arrays_of(source, path.stat().st_size)
    if found is None or found.notes:
        yield refused(rules.MODEL_FORMAT, "no safetensors, npy or npz of arrays alone: there are bytes of no array")
    elif not _are_known(found.texts, known):
        if known.elsewhere and _are_known(found.texts, known.with_names()):
            yield to_review(rules.ELSEWHERE, "it has a name of datasets at other hosts, which this host does not know")
        else:
            yield refused(rules.MODEL_TEXTS, "an array holds texts that were not known before: no columns, no terms")


def _are_known(texts: set[str], known: Known) -> bool:
    return all(text.isprintable() and known.holds(_NAMES, text) for text in texts)
