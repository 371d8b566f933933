"""``fedproc catalog submit``, ``submissions``, ``decide``, ``fetch``: tools on their way into the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedproc.cli.catalog import Folder, catalog
from fedproc.cli.show import AsJson, as_json, bold, clock, notice, say, table
from fedproc.client.session import signed_in
from fedproc.contract.api.submissions import SubmissionView

Submission = Annotated[str, typer.Argument(help="its id, as submit and submissions show it")]


@catalog.command()
def submit(
    folder: Folder, note: Annotated[str, typer.Option(help="for who decides")] = "", json: AsJson = False
) -> None:
    """Send in a tool to be approved; nothing is offered before it is."""
    from json import dumps

    from fedproc.catalog.bundle import pack
    from fedproc.catalog.folder import load_tool
    from fedproc.catalog.signing import canonical_content

    manifest = load_tool(folder)
    with signed_in() as client:
        sent = client.submit_tool(dumps(canonical_content(manifest)), pack(folder, manifest), note)
    if json:
        return as_json(sent)
    for finding in sent.findings:
        notice(finding)
    say(f"{sent.id}: {sent.tool} {sent.version} waits for a decision; `fedproc catalog submissions` shows it")


@catalog.command()
def submissions(json: AsJson = False) -> None:
    """Tools that were sent in, with what was decided: one's own, an operator's everybody's."""
    with signed_in() as client:
        found = client.submissions()
    if json:
        return as_json(found)
    rows = [(each.id, each.tool, each.version, each.provider, clock(each.created), _state(each)) for each in found]
    table(("submission", "tool", "version", "provider", "sent", "state"), rows, none="no tool was sent in")


def _state(one: SubmissionView) -> str:
    word = "offered" if one.offered else "approved, not published yet" if one.state == "approved" else one.state
    return f"{word}: {one.text}" if one.text else word


@catalog.command()
def decide(
    submission: Submission,
    approve: Annotated[bool, typer.Option("--approve/--refuse", help="what is decided")],
    text: Annotated[str, typer.Option(help="its provider sees it; needed to refuse")] = "",
    json: AsJson = False,
) -> None:
    """Approve or refuse a tool that was sent in (operators)."""
    with signed_in(operator=True) as client:
        found = client.decide_submission(submission, approve=approve, text=text)
    if json:
        return as_json(found)
    say(f"{found.tool} {found.version} is {found.state}")
    if approve:
        say(
            f"offered once it is published: fedproc catalog fetch {submission} --to FOLDER, then "
            "fedproc catalog publish FOLDER --key KEY"
        )


@catalog.command()
def withdraw(submission: Submission) -> None:
    """Take back a tool that one sent in; what is in the catalogue stays there."""
    with signed_in() as client:
        client.withdraw_submission(submission)
    say(f"{submission} is withdrawn")


@catalog.command()
def fetch(submission: Submission, to: Annotated[Path, typer.Option(help="a new folder")], json: AsJson = False) -> None:
    """Lay out the source of a tool that was sent in, to look at it, check and publish it; nothing of it runs."""
    from json import dumps

    from fedproc.catalog.bundle import unpack
    from fedproc.catalog.examination import examine
    from fedproc.common.errors import InvalidInputError
    from fedproc.contract.tool.tool import Manifest

    if to.exists():
        raise InvalidInputError(f"{to} is there already; name a new folder")
    with signed_in() as client:
        found = client.submission(submission)
        bundle = client.submitted_source(submission)
    manifest = Manifest.model_validate(found.manifest)
    examine(dumps(found.manifest), bundle)
    unpack(bundle, manifest, to)
    as_json(found) if json else say(bold(str(to)), f": {found.tool} {found.version}, {len(manifest.files)} files")


def mount(_app: typer.Typer) -> None:
    """The commands are part of ``fedproc catalog``, which is in the application already."""
