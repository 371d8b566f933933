"""``fedproc hosts``, ``tools`` and ``data``: what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from fedproc.cli.finding import nearest
from fedproc.cli.show import (
    AsJson,
    agreed,
    as_json,
    bold,
    check_can_ask,
    clock,
    first_sentence,
    flowing,
    line,
    say,
    say_lines,
    size,
    styled,
    table,
    version_text,
    witnessed,
)
from fedproc.client.session import signed_in
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.faults import faults_of
from fedproc.contract.api.hosts import HostEnrolment, HostView
from fedproc.contract.api.tools import ToolView
from fedproc.contract.tool.reading import kinds_read, most_at_host, words_read
from fedproc.contract.tool.values import default_text, expected, shown_example

hosts = typer.Typer(help="The federation's hosts.", invoke_without_command=True)
tools = typer.Typer(help="The approved tools.", invoke_without_command=True)
data = typer.Typer(help="Datasets at the hosts, and your own files.", invoke_without_command=True)


@hosts.callback()
def _hosts(context: typer.Context, json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_hosts(json=json)


@hosts.command("list")
def list_hosts(
    everyone: Annotated[bool, typer.Option("--all", help="also those that are not active (operators)")] = False,
    json: AsJson = False,
) -> None:
    """All active hosts."""
    with signed_in(operator=everyone) as client:
        found = client.hosts(everyone=everyone)
    if json:
        return as_json(found)
    rows = [
        (host.id, ", ".join(host.roles), host.location, _condition(host), host.open_jobs, clock(host.last_heartbeat))
        for host in found
    ]
    table(("host", "roles", "location", "state", "open jobs", "last heartbeat"), rows, none="no host is active")


@hosts.command("show")
def show_host(host: str, json: AsJson = False) -> None:
    """One host: what it has, what it lets run."""
    with signed_in() as client, nearest(client, "hosts", host):
        found = client.host(host)
    if json:
        return as_json(found)
    say(bold(found.id), f"  {found.site}  {found.location}  ({', '.join(found.roles)})")
    say("state      ", _condition(found), f"; last heartbeat {clock(found.last_heartbeat)}; {found.reached_by}")
    if found.capacity:
        say("capacity   " + "  ".join(f"{k} {v}" for k, v in found.capacity.model_dump().items() if v))
    say(f"executors  {', '.join(found.executors) or '-'}")
    say(f"tools      {', '.join(f'{tool.id}' for tool in found.tools) or '-'}")
    say(f"datasets   {', '.join(found.datasets) or '-'}")
    say("log        ", witnessed(found.log))


@hosts.command("enrol")
def enrol_host(
    host: str,
    role: Annotated[list[str], typer.Option(help="data, compute, aggregator; repeat it")],
    public_key: Annotated[
        Path | None, typer.Option(help="its public key (PEM, P-256); that of its confirmed enrolment unless given")
    ] = None,
    site: Annotated[str, typer.Option(help="the organisation that runs it")] = "",
    location: Annotated[str, typer.Option(help="where it stands")] = "",
    address: Annotated[str | None, typer.Option(help="aggregators: where server tasks are dialled, HOST:PORT")] = None,
    domain: Annotated[str, typer.Option(help="domain of the federation")] = "fedproc.internal",
    await_acceptance: Annotated[
        bool, typer.Option("--await-acceptance", help="give it no researcher's job before its acceptance succeeded")
    ] = False,
) -> None:
    """Enrol a host, or change what is known of it (operators)."""
    from fedproc.common.keys import load_key, public_jwk

    try:
        key = public_jwk(load_key(public_key.read_bytes())) if public_key else None
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"public key {public_key}: {error}") from error
    given: dict[str, Any] = {
        "site": site,
        "roles": role,
        "location": location,
        "public_key": key,
        "address": address,
        "domain": domain,
    }
    if await_acceptance:
        given["accepted"] = False
    try:
        enrolment = HostEnrolment.model_validate(given)
    except ValidationError as error:
        lines = (f"--{_option(str(each.loc[0]))} {each.what}" for each in faults_of(error))
        raise InvalidInputError("\n".join(lines)) from error
    with signed_in(operator=True) as client:
        found = client.enrol(host, enrolment)
    say(f"{found.id} is enrolled ({', '.join(found.roles)})")


def _option(field: str) -> str:
    return {"roles": "role"}.get(field, field).replace("_", "-")


def _condition(host: HostView) -> object:
    if not host.alive:
        return styled("unreachable", "red")
    if not host.accepted:
        return styled("awaits its acceptance", "yellow")
    if host.drained is not None:
        return line(styled("drained", "yellow"), f" by the federation's operator: {host.drained}")
    condition = styled(host.condition, "green" if host.condition == "accepting" else "yellow")
    return line(condition, f" {host.condition_text}" if host.condition_text else "")


@tools.callback()
def _tools(context: typer.Context, json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_tools(json=json)


@tools.command("list")
def list_tools(json: AsJson = False) -> None:
    """All approved tools."""
    with signed_in() as client:
        found = client.tools()
    if json:
        return as_json(found)
    rows = [(tool.id, tool.version, tool.mode, first_sentence(tool.description)) for tool in found]
    table(("tool", "version", "mode", "what it does"), rows, none="no tool is approved yet")


@tools.command("show")
def show_tool(tool: str, json: AsJson = False) -> None:
    """One tool: parameters, tasks, what it takes and gives."""
    with signed_in() as client, nearest(client, "tool", tool):
        found = client.tool(tool)
        tasks = client.tasks(tool, found.version)
    if json:
        return as_json(found)
    say(bold(found.name), f" ({found.id} {found.version}, {found.mode})")
    say_lines(found.description)
    say()
    _parameters(found)
    for task in tasks:
        takes = ", ".join(f"{entry['name']} ({_kind(entry, found)})" for entry in task.inputs) or "nothing"
        gives = ", ".join(f"{entry['name']} ({entry['disclosure']})" for entry in task.outputs) or "nothing"
        say("task ", bold(task.name), f" ({task.placement}): {flowing(task.description)}")
        shows = ", ".join(metric["name"] for metric in task.metrics)
        say(f"  takes {takes}; gives {gives}" + (f"; shows {shows} while it runs" if shows else ""))


def _kind(entry: dict[str, Any], tool: ToolView) -> str:
    if entry["kind"] != "dataset":
        return str(entry["kind"])
    read, most = kinds_read(entry.get("media_types", ())), most_at_host(tool.parameters)
    return "dataset" + (f" of {words_read(read)}" if read else "") + (f", {most} of each host" if most else "")


def _parameters(tool: ToolView) -> None:
    schema = tool.parameters
    required = set(schema.get("required", []))
    rows = [
        (
            f"{name}{' *' if name in required else ''}",
            expected(inner, schema),
            default_text(inner),
            shown_example(inner, schema),
            flowing(str(inner.get("description", ""))),
        )
        for name, inner in schema.get("properties", {}).items()
        if isinstance(inner, dict)
    ]
    head = ("parameter", "value", "default", "for example", "description")
    table(head, rows, none="It takes no parameters.")
    if required:
        say("* must be given")


@data.callback()
def _data(context: typer.Context, json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_datasets(json=json)


@data.command("list")
def list_datasets(
    host: Annotated[str, typer.Option(help="only of this host")] = "",
    modality: Annotated[list[str] | None, typer.Option(help="with images of it, such as CT; repeat it")] = None,
    body_part: Annotated[list[str] | None, typer.Option(help="with images of it, such as BREAST; repeat it")] = None,
    kind: Annotated[str, typer.Option(help="tables or images")] = "",
    column: Annotated[list[str] | None, typer.Option(help="with such a column; repeat it")] = None,
    text: Annotated[str, typer.Option(help="with these words in id, label or description")] = "",
    catalogue: Annotated[str, typer.Option(help="of this entry in a catalogue, such as eucaim:breast-2024")] = "",
    json: AsJson = False,
) -> None:
    """The datasets at the hosts, all or those that fit."""
    filtered = any((host, modality, body_part, kind, column, text, catalogue))
    with signed_in() as client:
        found = client.datasets(
            host=host, modality=modality, body_part=body_part, kind=kind, column=column, text=text, catalogue=catalogue
        )
    if json:
        return as_json(found)
    rows = [
        (entry.id, version_text(entry.version, entry.label), size(entry.size), _about(entry.persons),
         "" if entry.available else "not now", flowing(entry.description))
        for entry in found
    ]  # fmt: skip
    head = ("dataset", "version", "size", "persons", "", "what it is")
    table(head, rows, none=_no_dataset(filtered=filtered))


def _about(persons: int | None) -> str:
    """As its host rounded it; nothing where it tells no number."""
    return "" if persons is None else f"about {persons}"


def _no_dataset(*, filtered: bool) -> str:
    return (
        "no dataset fits all of this; fedproc data shows all there are" if filtered else "no host offers a dataset yet"
    )


@data.command("files")
def list_files(json: AsJson = False) -> None:
    """Your files at the centre: what you uploaded, what your experiments gave."""
    with signed_in() as client:
        found = [client.file(uri.rstrip("/").rpartition("/")[2]) for uri in client.files()]
    if json:
        return as_json(found)
    rows = [(entry.id, entry.path, size(entry.size), entry.state, entry.experiment or "") for entry in found]
    table(("file", "path", "size", "", "experiment"), rows, none="you have no files at the centre")


@data.command("put")
def put_file(
    source: Annotated[Path, typer.Argument(help="the file to upload")],
    path: Annotated[str | None, typer.Argument(help="its path at the centre; its name unless given")] = None,
    media_type: Annotated[str, typer.Option(help="media type")] = "application/octet-stream",
    json: AsJson = False,
) -> None:
    """Upload a file of yours; an upload that was cut is taken up where it was cut."""
    if not source.is_file():
        raise InvalidInputError(f"{source} is no file")
    with signed_in() as client:
        entry = client.put_file(path or source.name, source, media_type)
    as_json(entry) if json else say(f"{entry.id}  {entry.path}  {size(entry.size)}")


@data.command("delete")
def delete_file(
    file: Annotated[str, typer.Argument(help="its id (fedproc data files)")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Delete a file that you uploaded; a result goes with its experiment. There is no way back."""
    check_can_ask(yes=yes)
    with signed_in() as client:
        found = client.file(file)
        agreed(f"Delete {found.id} ({found.path}, {size(found.size)})?", yes=yes)
        client.delete_file(file)
    say(f"{file} is deleted")


def mount(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(hosts, name="hosts")
    app.add_typer(tools, name="tools")
    app.add_typer(data, name="data")
