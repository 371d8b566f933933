"""Slurm's words for where a job stands (``man squeue``, JOB STATE CODES), and what they are to us."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """``over``: no process of it is left, or ever was. ``limit`` and ``detail`` say what ended it, if Slurm did."""

    over: bool
    limit: str | None = None
    detail: str = ""


_WAITING = Word(over=False)
WORDS: dict[str, Word] = {
    **dict.fromkeys(
        ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "STAGE_OUT",
         "SIGNALING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"),
        _WAITING,
    ),
    "COMPLETED": Word(over=True),
    "FAILED": Word(over=True),
    "CANCELLED": Word(over=True, detail="Slurm says that it was cancelled"),
    "TIMEOUT": Word(over=True, limit="time", detail="Slurm ended it at the time limit of its allocation"),
    "DEADLINE": Word(over=True, limit="time", detail="Slurm ended it at the deadline of its allocation"),
    "OUT_OF_MEMORY": Word(over=True, limit="memory", detail="it needed more than the memory of its allocation"),
    "NODE_FAIL": Word(over=True, detail="its node failed while the job ran"),
    "BOOT_FAIL": Word(over=True, detail="its node did not start"),
    "PREEMPTED": Word(over=True, detail="Slurm ended it while the job ran, for a job of higher priority"),
    "REVOKED": Word(over=True, detail="Slurm moved it to another cluster"),
}  # fmt: skip
_UNKNOWN = Word(over=False)


def word_of(state: str) -> Word:
    """By what Slurm shows: ``RUNNING``, ``CANCELLED by 1000``, ``OUT_OF_ME+``. A word not known here is waited for."""
    name = state.split(" ", maxsplit=1)[0].rstrip("+")
    if name in WORDS:
        return WORDS[name]
    return next((word for known, word in WORDS.items() if name and known.startswith(name)), _UNKNOWN)
