"""``fedproc data describe`` and ``check``, for those who offer datasets, and ``show``, for those who use them."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from fedproc.cli.browse import data
from fedproc.cli.show import AsJson, as_json, clock, flowing, notice, say, say_lines, size, table, version_text
from fedproc.cli.site.app import INSTALLED
from fedproc.client.api import Client
from fedproc.client.session import signed_in
from fedproc.client.transport import ApiError
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.grants import ResearcherGrant
from fedproc.contract.api.hosts import DatasetDetail
from fedproc.contract.wire.datasets import DatasetColumn, ImagingCounts, ImagingSummary

Folder = Annotated[Path, typer.Argument(help="the dataset's folder")]


@data.command("describe")
def describe(
    folder: Folder,
    write: Annotated[bool, typer.Option("--write", help="write it to dataset.json in the folder")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="also where columns are described already")] = False,
    separator: Annotated[str, typer.Option(help="what stands between cells: , ; | or tab")] = "",
    decimal: Annotated[str, typer.Option(help="the decimal mark: . or ,")] = "",
    encoding: Annotated[str, typer.Option(help="the files' encoding, such as windows-1252")] = "",
) -> None:
    """Propose a dataset.json for the tables in FOLDER: columns, types, categories, and how the files are written.

    Read it before you offer the dataset: you know what the columns mean, and researchers see what it says. What an
    earlier dataset.json gives is kept: id, version, descriptions, units, names beside a header, and a format that fits.
    """
    from fedproc.site.data.describing.proposal import propose
    from fedproc.tables.problems import TableError

    given = {"separator": "\t" if separator in {"tab", "\\t"} else separator, "decimal": decimal, "encoding": encoding}
    try:
        proposal = propose(_dataset(folder), {key: value for key, value in given.items() if value})
    except TableError as error:
        raise _refusal(error, f"{folder} cannot be described") from error
    for note in proposal.notes:
        notice(f"look at: {note}")
    if write or replace:
        _check_replaceable(folder, replace=replace)
        _write(folder / "dataset.json", json_module.dumps(proposal.description, indent=1, ensure_ascii=False) + "\n")
    else:
        as_json(proposal.description)


@data.command("check")
def check(
    folder: Folder,
    site: Annotated[str, typer.Option(help="the host's id, for the messages; that of host.toml unless given")] = "",
) -> None:
    """Hold the tables in FOLDER to its dataset.json: what tools would refuse is told here first, all at once.

    Of images, each file is told with what is wrong, and whether it may tell who a person is.
    """
    from fedproc.cli.images import check_images
    from fedproc.site.data.describing.checking import check_dataset
    from fedproc.tables.description import FILE, read_json
    from fedproc.tables.problems import TableError

    try:
        given = read_json(_dataset(folder) / FILE) if (folder / FILE).exists() else {}
        if check_images(folder, given) and "tables" not in given:
            return
        checked = check_dataset(folder)
    except TableError as error:
        what = f"{folder} cannot be used as its dataset.json describes it"
        raise _refusal(error, what, site or _this_host()) from error
    for entry in checked:
        say(entry.line())


@data.command("show")
def show(
    dataset: Annotated[str, typer.Argument(help="HOST:ID, or the id of its entry in a catalogue")], json: AsJson = False
) -> None:
    """One dataset at a host: the columns of its tables, their types, units and categories."""
    with signed_in() as client:
        found = [client.dataset(name) for name in client.named_datasets(dataset)]
        if json:
            return as_json(found[0] if len(found) == 1 else found)
        for each in found:
            _show(each)
            _show_grant(_grant(client, each.id))


def _show(found: DatasetDetail) -> None:
    here = "" if found.available else "  (its host cannot be reached now)"
    say(f"{found.id}  version {version_text(found.version, found.label)}  {size(found.size)}{here}")
    if found.catalogue:
        say(f"in a catalogue: {found.catalogue}")
    say_lines(found.description)
    if found.persons is None and found.imaging is None:
        say("how many persons it is of, its host does not tell: ask its site")
    if found.imaging is not None:
        _show_imaging(found.imaging)
        if not found.columns:
            return
    rows = [
        (column.name, column.type, column.unit, _values(column), flowing(column.description))
        for column in found.columns
    ]
    table(("column", "type", "unit", "categories", "what it is"), rows, none="its host does not describe its columns")
    if not found.complete:
        say("more columns follow: the host has not sent all of them yet")


def _grant(client: Client, dataset: str) -> ResearcherGrant | None:
    """None at a centre of before, which does not tell."""
    try:
        return client.grant(dataset)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _show_grant(found: ResearcherGrant | None) -> None:
    """Nothing of one that is open to everybody here."""
    if found is None or found.answer == "open":
        return
    if found.answer == "not_granted":
        return say(f"you have no grant to use it: {found.reason}")
    if found.answer == "not_asked":
        return say(f"whether you may use it could not be asked now: {found.reason}")
    for grant in found.grants:
        parts = [f"{name} {value}" for name in ("project", "permit", "purpose") if (value := getattr(grant, name))]
        until = "" if grant.until is None else f"; until {clock(grant.until)}"
        say(f"granted to you by {found.provider}: {', '.join(parts) or 'it says no more'}{until}")


def _show_imaging(found: ImagingSummary) -> None:
    """Numbers are multiples of the floor, and what fewer persons have is not there."""
    if found.persons is None:
        return say(f"images of fewer than {found.floor} persons")
    beside = marked(found.segmentations)
    say(f"images of about {found.persons} persons, {found.studies} studies, {found.series} series{beside}")
    rows = [(name, _counts(getattr(found, name))) for name in ("modality", "body_part", "manufacturer", "sex", "age")]
    table(("", f"persons by it, in multiples of {found.floor}"), rows, none="")


def marked(segmentations: int | None) -> str:
    """Behind a number of series of images, which does not count them."""
    return f"; beside them {segmentations} series of segmentations" if segmentations else ""


def _counts(found: ImagingCounts) -> str:
    named = [f"{value} {count}" for value, count in found.persons.items()]
    return ", ".join([*named, *(["others"] if found.more else [])])


def _values(column: DatasetColumn) -> str:
    more = f" and {column.more_values} more" if column.more_values else ""
    return ", ".join(column.values) + more


def _dataset(folder: Path) -> Path:
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no folder: name the folder that holds the dataset's tables")
    return folder


def _this_host() -> str:
    """The host's id by its own settings, where there are any that may be read."""
    import tomllib

    try:
        return str(tomllib.loads(INSTALLED.read_text()).get("host", ""))
    except (OSError, ValueError):
        return ""


def _check_replaceable(folder: Path, *, replace: bool) -> None:
    """What a person wrote of the columns is not lost by the way."""
    from fedproc.tables.description import FILE, read_json

    if not replace and (folder / FILE).exists() and "columns" in read_json(folder / FILE):
        raise InvalidInputError(
            f"{folder / FILE} describes columns already: --replace writes the proposal in its place"
        )


def _refusal(error: Any, what: str, site: str = "") -> InvalidInputError:
    prefix = f"{site}: " if site else ""
    return InvalidInputError("\n".join([f"{what}:", *(f"  {prefix}{line}" for line in error.lines(private=True))]))


def _write(path: Path, text: str) -> None:
    from fedproc.common.files import write_atomically

    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
    notice(f"{path} is written: read it, then fedproc data check {path.parent}")


def mount(app: typer.Typer) -> None:
    """The commands stand in the group of :mod:`fedproc.cli.browse`."""
