"""``fedproc site audit``: the host's transparency log, read on the host, whether the orchestrator runs or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedproc.cli import audit as common
from fedproc.cli.audit import Dataset, Experiment, Job, Kind, Project, Since, ToolName, Until, User, moment
from fedproc.cli.show import AsJson, as_json, table
from fedproc.cli.site.app import site
from fedproc.common.tlog.selection import Reader, Selection

if TYPE_CHECKING:
    from fedproc.site.tlog.uses import JobUse

audit = typer.Typer(help="What was done here with data: the host's transparency log.", invoke_without_command=True)
audit.command("verify")(common.verify)
site.add_typer(audit, name="audit")


@audit.callback()
def show(
    context: typer.Context,
    job: Job = None,
    experiment: Experiment = None,
    dataset: Dataset = None,
    tool: ToolName = None,
    user: User = None,
    project: Project = None,
    kind: Kind = None,
    since: Since = None,
    until: Until = None,
    uses: Annotated[bool, typer.Option("--uses", help="one line for each job: who used what, and what left")] = False,
    config: Annotated[Path, typer.Option(envvar="FEDPROC_SITE_CONFIG", help="the orchestrator's settings file")] = Path(
        "/etc/fedproc/host.toml"
    ),
    folder: Annotated[Path | None, typer.Option("--log", help="a log's folder, instead of this host's")] = None,
    json: AsJson = False,
) -> None:
    """Who used which dataset version with which tool, for which project, and what left by whose decision."""
    if context.invoked_subcommand is not None:
        return
    place = folder or _folder_of(config)
    asked = Selection(
        job, experiment, dataset, tool, common.named(place, "user", user), common.named(place, "project", project),
        kind, moment(since, "--since"), moment(until, "--until"),
    )  # fmt: skip
    read = common.reader(place)
    if uses:
        _show_uses(read, asked, json)
    else:
        common.show_entries(read, asked, json)


def _folder_of(config: Path) -> Path:
    from fedproc.site.settings import load

    return load(config).tlog_folder


def _show_uses(read: Reader, asked: Selection, json: bool) -> None:
    from fedproc.site.tlog.uses import uses as uses_in

    def left(use: JobUse) -> str:
        decided = dict.fromkeys(map(_decided, use.decisions))
        return f"{_files(len(use.left))}  {'; '.join(decided)}" if decided else ""

    found = uses_in(asked.of(read))
    if json:
        return as_json([use.as_json() for use in found])
    rows = [
        (use.job, (use.accepted or "")[:19], ", ".join(common.versioned(*pair) for pair in use.datasets.items()),
         f"{use.tool.get('id', '')} {common.short(str(use.tool.get('digest', '')))}", common.short(use.user or ""),
         _project(use), use.state or "open", left(use))
        for use in found
    ]  # fmt: skip
    head = ("job", "when (UTC)", "datasets", "tool", "user", "project", "state", "what left")
    table(head, rows, none="the log has no job of that")


def _project(use: JobUse) -> str:
    """With the provider whose word it is, if one's."""
    provider = use.told_by.get("project")
    return f"{use.project or ''} (granted, by {provider})" if provider else use.project or ""


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _decided(one: Mapping[str, Any]) -> str:
    """``refused by policy: rules 1a2b3c4d (floor 10), persons.floor v1 (threshold 10)``."""
    text = f"{one.get('decision')} by {one.get('by')}"
    used = ", ".join(_rule(rule) for rule in one.get("rules", ()))
    return f"{text}: {used}" if used else text


def _rule(rule: Mapping[str, Any]) -> str:
    version = str(rule.get("version"))
    shown = f"v{version}" if version.isdigit() else common.short(version)
    limits = ", ".join(f"{name.replace('_', ' ')} {limit}" for name, limit in rule.get("limits", {}).items())
    return f"{rule.get('id')} {shown}" + (f" ({limits})" if limits else "")


def mount(_app: typer.Typer) -> None:
    """The commands are part of ``fedproc site``, which is in the application already."""
