"""Fetching what an experiment gave, with a report of what it was."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedproc.client.api import Client
from fedproc.client.report import REPORT, head_of, report_of, text_of
from fedproc.common.errors import ConflictError, FedprocError, InvalidInputError
from fedproc.common.files import replacing, sha256_of, write_atomically
from fedproc.contract.api.files import FileView
from fedproc.contract.ids import is_safe_path
from fedproc.contract.wire.crypt4gh import decrypt_file

_SHOWN = 5
SUFFIX = ".c4gh"
"""of a file that is encrypted to its user"""
_TEXT = Path(REPORT).with_suffix(".txt").name


def check_folder(folder: Path, experiment: str | None = None) -> None:
    """Whether results can be fetched to ``folder``, before an experiment is started or waited for.

    It must be new or empty, or hold the report of this experiment, as a fetch that was cut leaves it, whatever is
    beside that. Nothing is left of a new one. Raises :class:`InvalidInputError` that says what to choose instead.
    """
    try:
        there = _names_in(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidInputError(f"results cannot go to {folder}: {error.filename} is a file; name a folder") from error
    except OSError as error:
        raise InvalidInputError(f"results cannot go to {folder}: {error.strerror}; choose another folder") from error
    reports = {name for name in (REPORT, _TEXT) if name in there}
    own = experiment is not None and all(_is_report(folder / name, experiment) for name in reports)
    if there and not (reports and own):
        other = _experiment_in(folder)
        named = ", ".join(there[:_SHOWN]) + (", …" if len(there) > _SHOWN else "")
        what = f"results of {other}" if other not in {None, experiment} else named
        raise InvalidInputError(f"results cannot go to {folder}: it holds {what}; choose an empty or a new folder")


def _names_in(folder: Path) -> list[str]:
    """What a folder holds that one may write into; it is made for that, and taken away if there was none."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    finally:
        with suppress(OSError):
            for path in made:
                path.rmdir()


def _is_report(path: Path, experiment: str) -> bool:
    if path.name == REPORT:
        return _experiment_in(path.parent) == experiment
    try:
        return path.read_bytes().startswith(head_of(experiment).encode())
    except OSError:
        return False


def _other(path: Path) -> str:
    return f"{path} is there already with other content: move it away, or choose another folder"


def _experiment_in(folder: Path) -> str | None:
    """The experiment whose report is there."""
    try:
        return str(json.loads((folder / REPORT).read_bytes())["experiment"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fetch_results(client: Client, experiment: str, folder: Path, private: bytes | None = None) -> list[Path]:
    """Fetch all results to ``folder/HOST/PATH``, and put the experiment's report beside them.

    What is encrypted to the user has ``.c4gh`` after its name, and is decrypted beside it by the ``private`` key, if
    given. Raises :class:`FedprocError` where that is another's, or where what comes out is not what was decided.

    A file that is there already with the same content stays. Raises :class:`ConflictError` if another is in the place
    of one of them; then nothing was fetched but the report.
    """
    write_report(client, experiment, folder)
    entries = [entry for entry in client.results(experiment) if entry.state == "complete"]
    wanted = list(zip(entries, places(entries), strict=True))
    for entry, place in wanted:
        if (folder / place).exists() and sha256_of(folder / place) != entry.sha256:
            raise ConflictError(_other(folder / place))
    fetched = [client.fetch(entry, folder / place) for entry, place in wanted]
    if private is not None:
        for entry, place in wanted:
            _decrypt(entry, folder / place, private)
    _write(report_of(client, experiment, wanted, folder) | {"complete": True}, folder)
    return fetched


def _decrypt(entry: FileView, sealed: Path, private: bytes) -> None:
    if entry.plain_sha256 is None:
        return
    target = sealed.with_name(sealed.name.removesuffix(SUFFIX))
    if target.exists():
        if sha256_of(target) != entry.plain_sha256:
            raise ConflictError(_other(target))
        return
    with replacing(target) as partial:
        if decrypt_file(sealed, partial, private) != entry.plain_sha256:
            raise FedprocError(f"{sealed} holds other bytes than its site has decided about: tell the site")


def write_report(client: Client, experiment: str, folder: Path) -> None:
    """Write the experiment's report as far as it has come, so that the folder says whose it is, and that it is not
    complete: whatever ends the fetch, the report that says so is written last.

    Raises as :func:`check_folder` does.
    """
    check_folder(folder, experiment)
    if _experiment_in(folder) is None:
        _write(report_of(client, experiment, (), folder), folder)


def _write(report: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / REPORT, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode(), 0o644)
    write_atomically(folder / _TEXT, text_of(report).encode(), 0o644)


def in_plain(entries: list[FileView]) -> list[str]:
    """Where those of an experiment's results go that its centre gives as they are, and so could read and change."""
    done = [entry for entry in entries if entry.state == "complete"]
    return [str(place) for entry, place in zip(done, places(done), strict=True) if entry.plain_sha256 is None]


def places(entries: list[FileView]) -> list[Path]:
    """Where each goes: ``HOST/PATH``, and ``HOST/TASK/PATH`` where two tasks of a host gave a file of that name.

    What is encrypted has the name that it gets beside it when it is decrypted, too.
    """
    names = [entry.path + (SUFFIX if entry.plain_sha256 else "") for entry in entries]
    short = [f"{entry.host}/{name}" for entry, name in zip(entries, names, strict=True)]
    long = [f"{entry.host}/{entry.task}/{name}" for entry, name in zip(entries, names, strict=True)]
    times = Counter(name for each, entry in zip(short, entries, strict=True) for name in _taken(each, entry))
    chosen = [
        b if any(times[name] > 1 for name in _taken(a, entry)) else a
        for a, b, entry in zip(short, long, entries, strict=True)
    ]
    for place in chosen:
        if not is_safe_path(place):
            raise FedprocError(f"the centre names a result {place!r}, which is no safe path: tell its operator")
    return [Path(place) for place in chosen]


def _taken(place: str, entry: FileView) -> set[str]:
    """The names that a result takes up, before and after it is decrypted."""
    return {place, place.removesuffix(SUFFIX)} if entry.plain_sha256 else {place}
