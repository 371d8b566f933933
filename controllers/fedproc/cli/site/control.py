"""``fedproc site status``, ``stop``, …: a host's own operator, without the centre."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fedproc.cli.show import AsJson, as_json, bold, coloured, say, styled, table, witnessed
from fedproc.cli.site.app import site
from fedproc.common.errors import FedprocError, ForbiddenError, UnavailableError
from fedproc.common.sockets import unix_address
from fedproc.contract.wire.logs import WitnessedLog

JOBS_LEFT = 3

Socket = Annotated[
    Path,
    typer.Option(
        "--socket",
        envvar="FEDPROC_SITE_SOCKET",
        readable=False,  # who may use it is told by what uses it
        help="the orchestrator's own socket (site.sock), or the reviewers' (review.sock)",
    ),
]


def ask(socket: Path, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    import httpx

    try:
        with (
            unix_address(socket) as address,
            httpx.Client(transport=httpx.HTTPTransport(uds=address), base_url="http://site") as http,
        ):
            response = http.request(method, path, json=body)
    except (httpx.TransportError, OSError) as error:
        if _is_forbidden(error):
            who = "root and the orchestrator's user may; review.sock is for the accounts of the reviewers' group"
            raise ForbiddenError(f"this account may not use {socket}: {who}") from error
        raise UnavailableError(f"no orchestrator answers at {socket} ({error}): does it run, as you?") from error
    document = response.json()
    if response.status_code != 200:
        raise FedprocError(str(document.get("detail")))
    return document["result"]


def _is_forbidden(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, PermissionError):
        error = error.__cause__
    return error is not None


@site.command()
def status(socket: Socket, json: AsJson = False) -> None:
    """The host's jobs, and whether it takes more."""
    found = ask(socket, "GET", "/status")
    if json:
        return as_json(found)
    taking = styled("stopped", "red") if found["stopped"] else found["held"] or styled("takes jobs", "green")
    say(bold(found["host"]), "  ", taking, f"  clock {found['clock_skew_seconds']} s off the centre's")
    _show_log(found.get("log") or {})
    _show_problems(found)
    _show_jobs(found)


def _show_log(log: dict[str, Any]) -> None:
    """As the centre has witnessed it, and what this host has witnessed of the centre's."""
    for name, key in (("its log, by the centre", "witnessed"), ("the centre's log", "centre")):
        if found := log.get(key):
            say(f"{name}: ", witnessed(WitnessedLog.model_validate(found)))


def _show_problems(found: dict[str, Any]) -> None:
    for entry in found["datasets"]:
        say(styled(f"dataset {entry['id']} cannot be read ({entry['path']}): {entry['problem']}", "red"))
        say("  ", entry["cure"])
    for entry in found["unreadable"]:
        say(styled(f"the journal's record of {entry['job']} cannot be read: {entry['reason']}", "red"))
        say(
            f"  set aside {entry['set_aside']}; its job has ended as journal_lost and is to be started again. Nothing"
            " is to be done here but to look at the disk; the record is kept (docs/operations/site.md)"
        )


@site.command()
def jobs(socket: Socket, json: AsJson = False) -> None:
    """The jobs here, what each waits for, and why one that has ended is not cleaned away yet."""
    found = ask(socket, "GET", "/status")
    if json:
        return as_json([*found["jobs"], *found["leftovers"]])
    _show_jobs(found)


def _show_jobs(found: dict[str, Any]) -> None:
    columns = ("job", "tool", "task", "of", "state", "waits for")
    rows: list[tuple[object, ...]] = [
        (job["job"], job["tool"], job["task"], job["user"], coloured(job["state"]), _waits_for(job))
        for job in found["jobs"]
    ]
    rows += [(job["job"], "", "", "", "removed here", _waits_for(job)) for job in found["leftovers"]]
    table(columns, rows, none="no job is open")


def _waits_for(job: dict[str, Any]) -> str:
    if not job["ending"]:
        return job["waiting_for"] or ""
    return "its end; " + (job["obstacle"] or f"left to do: {', '.join(job['ending'])}")


@site.command()
def executors(socket: Socket, json: AsJson = False) -> None:
    """What runs jobs here, what it cannot enforce, and what is missing, with the cure."""
    found = ask(socket, "GET", "/executors")
    if json:
        return as_json(found)
    for executor in found:
        state = styled("takes jobs", "green") if executor["takes_jobs"] else styled(executor["missing"], "red")
        say(bold(executor["name"]), "  ", executor["is"], "  ", state)
        for limit, cure in executor["lacks"].items():
            word = "accepted by the policy" if limit in executor["accepted"] else "not accepted by the policy"
            say(f"  does not enforce {limit} ({word}): {cure}")
    ready = found[0]["tools_ready"]  # of the host, whichever of its executors runs them
    tools = [(tool["id"], tool["version"], ", ".join(tool["tasks"])) for tool in ready]
    table(("tool", "version", "tasks that have what they run in"), tools, none="no tool is ready yet")


@site.command(name="seccomp-profile")
def seccomp_profile() -> None:
    """The filter of system calls that each node of a Kubernetes cluster is given (docs/executors.md)."""
    from fedproc.site.executors.confinement.seccomp import engine_profile

    as_json(engine_profile(namespaces=True))


@site.command()
def stop(socket: Socket) -> None:
    """End all jobs and take no more; works without the centre, and outlives a restart."""
    ask(socket, "POST", "/stop")
    say("stopped: its jobs are being ended, and none is taken until fedproc site start")


@site.command()
def drain(
    socket: Socket,
    wait: Annotated[float, typer.Option(help="seconds to wait until no job is open", min=0)] = 0,
) -> None:
    """Take no new jobs and let those that are here end, before maintenance; start or a restart takes jobs again.

    Exit codes: 0 no job is open, 3 some still are.
    """
    left = ask(socket, "POST", "/drain")["jobs"]
    until = time.monotonic() + wait
    while left and time.monotonic() < until:
        time.sleep(min(1.0, wait))
        left = len(ask(socket, "GET", "/status")["jobs"])
    say(f"takes no new jobs; {left or 'none'} still open")
    if left:
        raise typer.Exit(JOBS_LEFT)


@site.command()
def start(socket: Socket) -> None:
    """Take jobs again, after stop or drain."""
    ask(socket, "POST", "/start")
    say("takes jobs again")


def mount(_app: typer.Typer) -> None:
    """The commands are part of ``fedproc site``, which is in the application already."""
