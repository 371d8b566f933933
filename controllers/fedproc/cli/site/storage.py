"""``fedproc site datasets``, ``fedproc site storage``: what is on the host."""

from __future__ import annotations

from typing import Any

import typer

from fedproc.cli.show import AsJson, as_json, say, size, table, version_text
from fedproc.cli.site.app import site
from fedproc.cli.site.control import Socket, ask


@site.command()
def datasets(socket: Socket, json: AsJson = False) -> None:
    """The datasets of this host with their folders; of one that cannot be read why, and what to do."""
    found = ask(socket, "GET", "/datasets")
    if json:
        return as_json(found)
    rows = [
        (entry["id"], version_text(entry["version"] or "", entry.get("label")), entry["files"] or "",
         size(entry["bytes"]) if entry["version"] else "", entry["path"], entry["problem"] or _state(entry))
        for entry in found
    ]  # fmt: skip
    table(("dataset", "version", "files", "size", "folder", "problem"), rows, none="no dataset is set up")
    for entry in found:
        if entry["cure"]:
            say(f"{entry['id']}: {entry['cure']}")


def _state(entry: dict[str, Any]) -> str:
    going = "" if entry["version"] else "is being looked at"
    found = ", ".join(f"{count} {code}" for code, count in (entry.get("found") or {}).items())
    return entry.get("progress") or going or found


@site.command()
def storage(socket: Socket, json: AsJson = False) -> None:
    """What this host keeps of what is over, kind by kind: how many, how old, how large, and what goes when."""
    found = ask(socket, "GET", "/storage")
    if json:
        return as_json(found)
    rows = [
        (entry["what"], entry["count"], size(entry["size"]), _day(entry["oldest"]), _days(entry["days"]),
         entry["due"] or "", _day(entry["following"]))
        for entry in found
    ]  # fmt: skip
    table(("kept", "count", "size", "oldest", "for days", "goes now", "next goes"), rows, none="nothing is kept")


def _day(moment: str | None) -> str:
    return moment[:10] if moment else ""


def _days(days: float | None) -> str:
    return "" if days is None else f"{days:g}"


def mount(_app: typer.Typer) -> None:
    """The commands are part of ``fedproc site``, which is in the application already."""
