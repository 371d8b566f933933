"""Datasets that hold nothing of what the tool reads, found before anything starts. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from fedproc.central.experiments.parameters import FieldError, field_error
from fedproc.contract.tool.reading import WORDS, Kind, fits, kinds_read, words_held, words_read
from fedproc.contract.tool.task import Task

KindsByDataset = Mapping[str, Collection[str] | None]
"""by dataset (``HOST:id``) of one host: the kinds that it holds, None where the host does not say"""


def unfit(name: str, tasks: Iterable[Task], held: KindsByDataset) -> Iterator[FieldError]:
    """One fault for each dataset that no input of the tool ``name`` reads, and for each input that would have none."""
    inputs = [(task.name, entry) for task in tasks for entry in task.inputs if entry.kind == "dataset"]
    reads = [(task, entry.name, entry.optional, kinds_read(entry.media_types)) for task, entry in inputs]
    known = [read for *_, read in reads if read is not None]
    if not known:
        return
    amiss = [each for each, kinds in held.items() if not any(fits(kinds, read) for *_, read in reads)]
    for dataset in amiss:
        everything = frozenset[Kind]().union(*known)
        what = f"{dataset} holds {words_held(held[dataset] or ())}, and {name} reads {words_read(everything)}"
        yield field_error("datasets", what, _cure(everything))
    for task, entry, optional, read in reads if held and not amiss else ():
        if read is not None and not optional and not any(fits(kinds, read) for kinds in held.values()):
            what = f"input {entry} of task {task} reads {words_read(read)}, and none of {', '.join(held)} has any"
            yield field_error("datasets", what, _cure(read))


def _cure(read: Collection[Kind]) -> str:
    options = " or ".join(f"--kind {kind}" for kind in WORDS if kind in read)
    return f"leave it out, or choose others: fedproc data list {options}"
