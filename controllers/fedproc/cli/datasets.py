"""``fedproc data describe`` and ``check``, for those who offer datasets, and ``show``, for those who use them."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fedproc.cli.browse import data
from fedproc.common.errors import InvalidInputError

Folder = Annotated[Path, typer.Argument(help="the dataset's folder")]


@data.command("describe")
def describe(
    folder: Folder,
    write: Annotated[bool, typer.Option("--write", help="write it to dataset.json in the folder")] = False,
) -> None:
    """Propose a dataset.json for the tables in FOLDER: columns, types, categories, and how the files are written.

    Read it before you offer the dataset: you know what the columns mean, and researchers see what it says. Units,
    descriptions, id and version that an earlier dataset.json gives are kept.
    """
    from fedproc.site.data.proposal import propose
    from fedproc.tables.problems import TableError

    try:
        proposal = propose(_dataset(folder))
    except TableError as error:
        raise _refusal(error, f"{folder} cannot be described") from error
    sys.stderr.writelines(f"look at: {note}\n" for note in proposal.notes)
    text = json_module.dumps(proposal.description, indent=1, ensure_ascii=False) + "\n"
    if write:
        _write(folder / "dataset.json", text)
    else:
        sys.stdout.write(text)


@data.command("check")
def check(
    folder: Folder,
    site: Annotated[str, typer.Option(help="the host's id, for the messages")] = "",
) -> None:
    """Hold the tables in FOLDER to its dataset.json: what tools would refuse is told here first, all at once."""
    from fedproc.site.data.checking import check_dataset
    from fedproc.tables.problems import TableError

    try:
        checked = check_dataset(_dataset(folder))
    except TableError as error:
        raise _refusal(error, f"{folder} cannot be used as its dataset.json describes it", site) from error
    sys.stdout.writelines(f"{entry.line()}\n" for entry in checked)


def _dataset(folder: Path) -> Path:
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no folder: name the folder that holds the dataset's tables")
    return folder


def _refusal(error: Any, what: str, site: str = "") -> InvalidInputError:
    prefix = f"{site}: " if site else ""
    return InvalidInputError("\n".join([f"{what}:", *(f"  {prefix}{line}" for line in error.lines(private=True))]))


def _write(path: Path, text: str) -> None:
    from fedproc.common.files import write_atomically

    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
    sys.stderr.write(f"{path} is written: read it, then fedproc data check {path.parent}\n")


def mount(app: typer.Typer) -> None:
    """The commands stand in the group of :mod:`fedproc.cli.browse`."""
