"""``fedproc data index``, and what ``fedproc data check`` says of images: for those who offer datasets."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from fedproc.cli.browse import data
from fedproc.cli.datasets import marked
from fedproc.cli.show import AsJson, as_json, say, size, table, version_text
from fedproc.common.errors import InvalidInputError
from fedproc.common.tasks import StopFlag
from fedproc.site.data.accepted import accepted_in, identifying_left
from fedproc.site.data.identifying import KINDS
from fedproc.site.data.imaging import Images, images_in
from fedproc.site.data.index import DatasetIndex, Known

_MOST = 12
"""values of an attribute in one line"""


@data.command("index")
def index(folder: Annotated[Path, typer.Argument(help="the dataset's folder")], json: AsJson = False) -> None:
    """Read FOLDER as the orchestrator does: version, images by what they are, and how many files have which problem.

    The numbers are exact, and for you. Nothing leaves this machine, and nothing is written into the folder.
    """
    found = look_at(folder)
    if json:
        return as_json(found.as_json())
    say(f"{folder}  version {version_text(found.known.version)}  {found.known.files} files  {size(found.known.size)}")
    if found.images is not None:
        _show_images(found.images)
    rows = [(code, count, KINDS.get(code, "")) for code, count in sorted(found.known.found.items())]
    if rows:
        table(("problem", "files", "what it is"), rows, none="")
        say(f"fedproc data check {folder} names the files")


class Looked:
    """What an index has of a folder."""

    def __init__(self, index: DatasetIndex, known: Known) -> None:
        self.index = index
        self.known = known
        with index.readonly() as db:
            self.images: Images | None = images_in(db)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        images = None if self.images is None else {**self.images.__dict__}
        return {"version": self.known.version, "files": self.known.files, "size": self.known.size,
                "images": images, "problems": dict(self.known.found)}  # fmt: skip


def look_at(folder: Path) -> Looked:
    """Bring the index of a folder up to date, in the user's cache. Raises :class:`InvalidInputError`."""
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no folder: name the folder that holds the dataset")
    index = DatasetIndex(_cache() / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]}.sqlite")
    try:
        with Progress(transient=True) as bar:
            task = bar.add_task("reading files", total=None)
            known = index.update(folder, StopFlag(), lambda count: bar.update(task, completed=count))
        return Looked(index, known)
    except OSError as error:
        raise InvalidInputError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    except sqlite3.Error as error:
        raise InvalidInputError(f"the index {index.path} cannot be written: {error}") from error


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "fedproc" / "datasets"


def _show_images(images: Images) -> None:
    say(f"{images.persons} persons, {images.studies} studies, {images.series} series{marked(images.segmentations)}")
    rows = [(name, _most(values)) for name, values in images.by.items()]
    table(("", "persons by it"), rows, none="")


def _most(values: Mapping[str, int]) -> str:
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    more = f", and {len(ordered) - _MOST} more" if len(ordered) > _MOST else ""
    return ", ".join(f"{value} {count}" for value, count in ordered[:_MOST]) + more


def check_images(folder: Path, described: Mapping[str, Any]) -> bool:
    """Whether there are images in the folder; what is wrong with its files is raised, file by file.

    Raises :class:`InvalidInputError`.
    """
    found = look_at(folder)
    if found.images is None:
        return False
    _show_images(found.images)
    left = identifying_left(accepted_in(described), found.known.found)
    accepted = KINDS.keys() - left.keys()
    if lines := list(_lines(found.index, accepted)):
        raise InvalidInputError("\n".join([f"{folder} has files with problems:", *lines, *_advice(folder, left)]))
    return True


def _lines(index: DatasetIndex, accepted: frozenset[str] | set[str]) -> Iterator[str]:
    for path, code, text in index.problems():
        if code not in accepted:
            yield f"  {path}: {text} ({code})"


def _advice(folder: Path, left: Mapping[str, int]) -> Iterator[str]:
    if left:
        kinds = ", ".join(f'"{kind}"' for kind in left)
        yield "it is not offered, as it may tell who persons are: de-identify it, or, if it tells of nobody, say so in"
        yield f'{folder / "dataset.json"}: {{"identifying_accepted": [{kinds}]}}'


def mount(app: typer.Typer) -> None:
    """The command stands in the group of :mod:`fedproc.cli.browse`."""
