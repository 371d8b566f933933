"""``fedproc catalog``: for those who provide tools."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedproc.cli.show import AsJson, as_json, notice, say, say_fault, table
from fedproc.client.session import signed_in
from fedproc.common.errors import InvalidInputError

if TYPE_CHECKING:
    from fedproc.contract.tool.tool import Manifest

catalog = typer.Typer(help="For tool providers and those who approve tools.", no_args_is_help=True)
Store = Annotated[str | None, typer.Option(envvar="FEDPROC_STORE", help="the store's name: store.DOMAIN")]
StoreUrl = Annotated[
    str | None, typer.Option(envvar="FEDPROC_STORE_URL", help="where it is reached, if not at https://STORE")
]
Pythons = typer.Option("--python", help="version of Python of the hosts, e.g. 3.13; may be given more than once")
Folder = Annotated[Path, typer.Argument(help="the tool's folder, with its tool.yaml")]


@catalog.command()
def new(
    name: Annotated[str, typer.Argument(help="the tool's id, such as row-count")],
    below: Annotated[Path, typer.Option(help="the folder in which its folder is made")] = Path(),
) -> None:
    """Write a tool to begin with: it counts the rows of a table at each site, and passes the check as it is."""
    from fedproc.catalog.scaffolding import write_scaffold

    folder = write_scaffold(name, below)
    say(f"{folder} is written: tool.yaml, count.py, and what it is given and gives below test")
    say(f"next: change them, then fedproc catalog check {folder}")


@catalog.command()
def check(
    folder: Annotated[list[Path], typer.Argument(help="tools' folders, or one that holds them")], json: AsJson = False
) -> None:
    """Check tools: what is wrong is named with file, line and key; and what a site would do with their examples.

    A site with the default policy would look at the files below test/example_output as it is said. Exit codes: 0 all
    fit; 1 a tool has a fault, or an output that never leaves; 3 something could not be tried, as an example is missing.
    """
    from fedproc.catalog.imports import unknown_imports
    from fedproc.catalog.signing import tool_digest
    from fedproc.cli.example_release import exit_code, release_of, show_release
    from fedproc.contract.tool.checks import hints
    from fedproc.site.policy.examples import odd_examples, odd_inputs, without_input

    found, is_wrong = _loaded([tool for each in folder for tool in _tools_of(each)])
    for manifest, each in found:
        for hint in (*hints(manifest.tool.tasks), *unknown_imports(manifest, each), *odd_examples(manifest.tool, each)):
            notice(f"{each}: {hint}")
    findings = [(m.tool.id, release_of(m, each)) for m, each in found]
    if json:
        rows = [{"id": m.tool.id, "version": m.tool.version, "digest": tool_digest(m)} for m, _ in found]
        as_json([row | {"release": entries} for row, (_, entries) in zip(rows, findings, strict=True)])
    else:
        lines = [(m.tool.id, m.tool.version, tool_digest(m), len(m.files)) for m, _ in found]
        if lines:  # else each fault has been told
            table(("tool", "version", "digest", "files"), lines, none="")
            show_release(findings)
    is_untried = any(without_input(m.tool, each) or [*odd_inputs(m.tool, each)] for m, each in found)
    if code := 1 if is_wrong else exit_code(findings, is_untried=is_untried):
        raise typer.Exit(code)


def _tools_of(folder: Path) -> list[Path]:
    below = [] if (folder / "tool.yaml").exists() else sorted(path.parent for path in folder.glob("*/tool.yaml"))
    return below or [folder]


def _loaded(folders: list[Path]) -> tuple[list[tuple[Manifest, Path]], bool]:
    """The tools that can be read, and whether there are others: what is wrong with each of those is told."""
    from fedproc.catalog.folder import load_tool

    found: list[tuple[Manifest, Path]] = []
    for each in folders:
        try:
            found.append((load_tool(each), each))
        except InvalidInputError as error:
            say_fault(error.message)
    return found, len(found) < len(folders)


@catalog.command()
def recall(
    tool: str,
    version: str,
    reason: Annotated[str, typer.Option(prompt=True, help="shown to researchers and hosts, kept in the audit")],
    json: AsJson = False,
) -> None:
    """Recall a version of a tool: what runs of it is ended everywhere, and nobody starts it again (operators)."""
    with signed_in(operator=True) as client:
        done = client.recall(tool, version, reason)
    if json:
        return as_json(done)
    say(f"{tool} {version} is recalled; {done.experiments} open experiments of it are told to end")


@catalog.command()
def publish(
    folder: Folder,
    key: Annotated[Path, typer.Option(help="the catalogue's private key (PEM)")],
    store: Store = None,
    store_url: StoreUrl = None,
    base_image: Annotated[str | None, typer.Option(help="BASE_IMAGE for Dockerfiles, instead of their own")] = None,
    engine: Annotated[str, typer.Option(help="the container engine that builds")] = "unix:///var/run/docker.sock",
) -> None:
    """Approve a tool: check it, build its images and send them to the store, sign its manifest, publish (operators).

    Without --store no image is built. What is published already stays as it is.
    """
    from fedproc.catalog.bundle import pack
    from fedproc.catalog.folder import load_tool
    from fedproc.catalog.naming import to_build
    from fedproc.catalog.signing import sign_manifest, tool_digest
    from fedproc.cli.registry import published, store_of
    from fedproc.common.keys import signer_for

    manifest, signer = load_tool(folder), signer_for(key)
    with signed_in(operator=True) as client:
        there = published(client, manifest, signer)
        if there is not None:
            hint = "  (without an image of the store: raise its version)" if store and to_build(there) else ""
            return say(f"unchanged {there.tool.id} {there.tool.version}  {tool_digest(there)}{hint}")
        if store:
            from fedproc.catalog.publishing import publish_images

            with store_of(client, store, store_url) as registry:
                manifest = publish_images(folder, manifest, registry, engine, base_image, say)
        added = client.add_tool(sign_manifest(manifest, signer), pack(folder, manifest))
    say(f"published {added.id} {added.version}  {added.digest}")


@catalog.command()
def base_image(
    engine: Annotated[str, typer.Option(help="the container engine that keeps it")] = "unix:///var/run/docker.sock",
) -> None:
    """Make a base image of Debian's packages, where no image registry is reached; prints its name."""
    import docker

    from fedproc.catalog.base_image import make_base_image

    client = docker.DockerClient(engine, version="auto", timeout=600)
    try:
        typer.echo(make_base_image(client, lambda text: typer.echo(text, err=True)))
    finally:
        client.close()


@catalog.command()
def wheels(
    folder: Annotated[list[Path], typer.Argument(help="folders of tools")],
    to: Annotated[Path, typer.Option(help="folder of the index, into which PROJECT/FILE are put")],
    python: Annotated[list[str], Pythons],
) -> None:
    """Fetch the packages that tools name, by their hashes, for hosts that build environments and reach no index."""
    from fedproc.catalog.folder import load_tool
    from fedproc.catalog.wheels import fetch_wheels, lock_files

    locks = [lock for each in folder for lock in lock_files(each, load_tool(each))]
    say(f"{fetch_wheels(locks, python, to)} new packages in {to}")


@catalog.command()
def pack(
    tool: Annotated[list[str], typer.Argument(help="ids of published tools, with @VERSION if not the newest")],
    to: Annotated[Path, typer.Option(help="the archive (tar)")],
    store: Store = None,
    store_url: StoreUrl = None,
    python: Annotated[list[str] | None, Pythons] = None,
) -> None:
    """Pack tools for a site that reaches nothing: manifests, sources, images of --store, packages for --python."""
    from fedproc.cli.pack import write_archive
    from fedproc.cli.registry import store_of

    with signed_in(operator=True) as client, ExitStack() as stack:
        registry = stack.enter_context(store_of(client, store, store_url)) if store else None
        write_archive(client, tool, to, registry, python or [], say)


def mount(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(catalog, name="catalog")
