"""``fedproc site datasets``: what is on the host, and what of it cannot be read."""

from __future__ import annotations

import typer

from fedproc.cli.show import AsJson, as_json, say, size, table
from fedproc.cli.site.app import site
from fedproc.cli.site.control import Socket, ask


@site.command()
def datasets(socket: Socket, json: AsJson = False) -> None:
    """The datasets of this host with their folders; of one that cannot be read why, and what to do."""
    found = ask(socket, "GET", "/datasets")
    if json:
        return as_json(found)
    rows = [
        (entry["id"], entry["version"] or "", entry["files"] or "", size(entry["bytes"]) if entry["version"] else "",
         entry["path"], entry["problem"] or ("" if entry["version"] else "is being looked at"))
        for entry in found
    ]  # fmt: skip
    table(("dataset", "version", "files", "size", "folder", "problem"), rows, none="no dataset is set up")
    for entry in found:
        if entry["cure"]:
            say(f"{entry['id']}: {entry['cure']}")


def mount(_app: typer.Typer) -> None:
    """The commands are part of ``fedproc site``, which is in the application already."""
