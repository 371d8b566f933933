"""How pages say times, sizes and states."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

from markupsafe import Markup, escape

from fedproc.contract.states import TERMINAL
from fedproc.contract.wire.release import PARTLY_RELEASED

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_ADDRESS = re.compile(r"(https?://[^\s<>\"']*[^\s<>\"'.,;:)])")
_MINUTE = re.compile("([0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])) ((?:[01][0-9]|2[0-3]):[0-5][0-9]) UTC")
_COMMAND = re.compile(
    r"\s*\((?:fedproc |--)[^()]*\)|(?:^|[;:]|(?<=[?.]))\s*fedproc (?:data|tools|hosts|experiments)\b[^;()]*"
)
"""what a message of the API says to who types commands"""
_SIZES = ("B", "kB", "MB", "GB", "TB")

MARKS = {
    "queued": "○", "dispatched": "○", "accepted": "◔", "materialising": "◔", "preparing": "◔", "prepared": "◑",
    "running": "▶", "collecting": "◕", "awaiting_release": "‖", "succeeded": "✓", "partly_released": "◩",
    "warnings": "⚠",
    "failed": "✗", "error": "✗", "refused": "⊘", "cancelled": "■", "expired": "⌛", "lost": "?",
}  # fmt: skip
"""beside the word, so that a state is not told by its colour alone"""

STATE_WORDS = {"awaiting_release": "awaiting release", "warnings": "finished with warnings",
               "partly_released": "partly released", "preparing": "being prepared"}  # fmt: skip


def moment(value: datetime | None) -> Markup:
    """A time for people and programs; the script of the pages says it in the reader's own zone beside it."""
    if value is None:
        return Markup("–")
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(utc.isoformat(), f"{utc:%Y-%m-%d %H:%M:%S}")


def timed(text: str) -> Markup:
    """A sentence with the times in it as :func:`moment` has them."""
    pieces = _MINUTE.split(text)
    times = (
        Markup('<time datetime="{}T{}:00+00:00">{} {} UTC</time>').format(*both, *both)
        for both in zip(pieces[1::3], pieces[2::3], strict=True)
    )
    return Markup("").join(each for pair in zip_longest(map(escape, pieces[::3]), times, fillvalue="") for each in pair)


def linked(text: str) -> Markup:
    """A sentence of ours or of a provider with the https addresses in it as links."""
    pieces = _ADDRESS.split(text)
    links = (Markup('<a href="{0}" rel="noreferrer">{0}</a>').format(piece) for piece in pieces[1::2])
    return Markup("").join(each for pair in zip_longest(map(escape, pieces[::2]), links, fillvalue="") for each in pair)


def filled(text: str, user: str, dataset: str) -> str:
    """Where access is asked for, with this reader and dataset in the place of ``USER HOST:DATASET``."""
    return text.replace("USER HOST:DATASET", f"{user} {dataset}")


def sentence(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]


def in_pages(text: str) -> str:
    """A message of the API without the commands that it names: a page has its own way there."""
    return _COMMAND.sub("", text).strip()


def counted(number: int, word: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def ago(value: datetime | None) -> str:
    """How long ago, in the largest unit."""
    if value is None:
        return "never"
    return f"{duration((datetime.now(UTC) - value).total_seconds())} ago"


def duration(seconds: float | None) -> str:
    """A span in its two largest units; ``1 hour 5 minutes``."""
    if seconds is None:
        return "–"
    rest, parts = max(0, round(seconds)), []
    for length, unit in _UNITS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(counted(count, unit))
    return " ".join(parts[:2]) or "0 seconds"


def size(count: float | None) -> str:
    """Bytes in the unit that fits (powers of ten)."""
    if count is None:
        return "–"
    unit = 0
    while count >= 1000 and unit < len(_SIZES) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.0f} {_SIZES[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {_SIZES[unit]}"


def state_of(experiment: Any) -> str:
    """The mark of an experiment; one that waits for its start, succeeded without a host, or of which a site keeps a
    part, has its own."""
    if experiment.held:
        return "prepared" if experiment.prepared else "preparing"
    if experiment.state != "succeeded":
        return str(experiment.state)
    part = "partly_released" if experiment.partly_released else str(experiment.state)
    return "warnings" if experiment.succeeded_without else part


def job_state_of(job: Any) -> str:
    """The mark of a job, as of an experiment."""
    is_part = job.state == "succeeded" and job.release is not None and job.release.stage == PARTLY_RELEASED
    return "partly_released" if is_part else str(job.state.value)


def is_over(state: str) -> bool:
    """Whether it stays in this state."""
    return state in {one.value for one in TERMINAL} or state in ("warnings", "partly_released")


def state_word(state: str) -> str:
    """A state as people say it."""
    return STATE_WORDS.get(state, state)


def badge(state: str) -> Markup:
    """A state as mark and word."""
    html = Markup('<span class="badge state-{}"><span aria-hidden="true">{}</span> {}</span>')
    return html.format(state, MARKS.get(state, "·"), state_word(state))
