"""``fedproc catalog``: for those who provide tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedproc.cli.session import signed_in
from fedproc.cli.show import AsJson, as_json, console, table
from fedproc.contract.errors import InvalidInput

catalog = typer.Typer(help="For tool providers and those who approve tools.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="the tool's folder, with its tool.yaml")]


@catalog.command()
def check(folder: Annotated[list[Path], typer.Argument(help="folders of tools")], json: AsJson = False) -> None:
    """Check tools: what is wrong is named with file, line and key."""
    from fedproc.catalog import load_tool, tool_digest

    found = [load_tool(each) for each in folder]
    if json:
        return as_json([{"id": m.tool.id, "version": m.tool.version, "digest": tool_digest(m)} for m in found])
    rows = [(m.tool.id, m.tool.version, tool_digest(m), len(m.files)) for m in found]
    table(("tool", "version", "digest", "files"), rows, none="")


@catalog.command()
def publish(folder: Folder, key: Annotated[Path, typer.Option(help="the catalogue's private key (PEM)")]) -> None:
    """Approve a tool: check its folder, sign its manifest, publish it (operators)."""
    from fedproc.catalog import load_tool, pack, sign_manifest
    from fedproc.contract.jws import load_key

    manifest = load_tool(folder)
    try:
        signed = sign_manifest(manifest, load_key(key.read_bytes()))
    except (OSError, ValueError) as fault:
        raise InvalidInput(f"catalogue key {key}: {fault}") from fault
    with signed_in(operator=True) as client:
        added = client.add_tool(signed, pack(folder, manifest))
    console.print(f"published {added.id} {added.version}  {added.digest}")


def mount(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(catalog, name="catalog")
