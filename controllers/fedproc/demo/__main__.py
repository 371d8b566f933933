"""``python -m fedproc.demo run|demonstrator|up|tools|status|down``, as the Makefile calls it.

From the environment: ``DEMO_DIR`` (where the federation lives), ``DEMO_CACHE`` (what is kept between runs: data and
tools' environments), ``EXECUTOR`` (``sandbox`` or ``docker``), ``TOOLS`` (a folder with more tools), ``DATA`` (a folder
with EUCAIM's clinical tables), ``FEDERATION`` (the folder of a federation that runs, for the demonstrator),
``DEMO_START_SECONDS`` (how long each part may take to start), ``FEDBIOMED=1`` (offers the tools of Fed-BioMed, whose
image of 2 GB is built first, in a container engine).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from rich.console import Console

from fedproc.catalog.folder import load_catalogue
from fedproc.client.api import Client
from fedproc.common.errors import FedprocError, InvalidInputError
from fedproc.demo import reviewing, scenario
from fedproc.demo.federation import Federation, read_env

_CATALOGUE = Path(__file__).parents[3] / "tool_catalog"
_OPTIONAL = _CATALOGUE / "optional"
_EXAMPLES = Path(__file__).parents[3] / "docs/examples"
_DEFAULT = ".demo"
_BY_HAND = (
    ("fedproc hosts", "who is there"),
    ("fedproc data", "which datasets"),
    ("fedproc tools", "which tools; tools show TOOL tells more"),
    ("fedproc run host-acceptance --host UB", "a look from inside"),
)


def main(arguments: list[str]) -> int:
    """Exit codes: 0 done, 1 it failed (the message says why), 2 wrong usage, 130 interrupted."""
    acts = {"run": _run, "demonstrator": _demonstrator, "up": _up, "tools": _tools, "status": _status, "down": _down}
    if len(arguments) != 1 or arguments[0] not in acts:
        sys.stderr.write(f"usage: python -m fedproc.demo {'|'.join(acts)}\n")
        return 2
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        acts[arguments[0]](console)
    except FedprocError as error:
        console.print(error.message, style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    return 0


def _folder() -> Path:
    return Path(os.environ.get("DEMO_DIR") or _DEFAULT)


def _federation(only: frozenset[str] | None = None) -> Federation:
    more = os.environ.get("TOOLS")
    executor = os.environ.get("EXECUTOR") or "sandbox"
    if executor not in ("sandbox", "docker"):
        raise InvalidInputError(f"EXECUTOR={executor}: choose sandbox or docker")
    catalogues = [_CATALOGUE, *([_EXAMPLES] if only else []), *([Path(more)] if more else [])]
    if os.environ.get("FEDBIOMED"):
        catalogues.append(_OPTIONAL)
        executor = executor if executor == "docker" else f"{executor},docker"
    cache, data = Path(os.environ.get("DEMO_CACHE") or ".cache"), os.environ.get("DATA")
    return Federation(_folder(), cache, catalogues, executor, only, Path(data) if data else None)


def _run(console: Console) -> None:
    federation, begun = _federation(scenario.TOOLS | {reviewing.TOOL}), time.monotonic()
    results = federation.results / _stamp()
    with _ended_after(federation):
        _start(federation, console)
        reviewing.ask_a_person(federation)
        client = federation.client("researcher")
        console.print(f"==> a researcher signs in at {client.url} (POST /token) and runs four experiments")
        scenario.run(client, results, console)
        scenario.run_imaging(client, results, console)
        reviewing.run(federation, client, results, console)
        client.close()
        console.print("\n==> ending the federation")
    console.print(f"==> done in {time.monotonic() - begun:.0f} s; nothing is left running")
    console.print(f"""
The results are files in [bold]{_short(results)}[/]; open cohort-statistics/EUCAIM/survival.png.
Next: [bold]make demo-up[/] starts this federation and leaves it running, so that you can try it by hand;
      docs/tools.md shows how to write a tool of your own, and TOOLS=folder offers it there.""")


def _demonstrator(console: Console) -> None:
    from fedproc.demo import demonstrator, demonstrator_images

    begun = time.monotonic()
    if there := os.environ.get("FEDERATION"):
        results = Path(there) / "results" / _stamp()
        client, data = _client_of(Path(there)), _data_of(Path(there))
        demonstrator.run(client, results, console)
        demonstrator_images.run(client, results, data, console)
        demonstrator_images.run_where_offered(client, results, data, console)
        client.close()
    else:
        federation = _federation(demonstrator.TOOLS | demonstrator_images.TOOLS)
        results = federation.results / _stamp()
        with _ended_after(federation):
            _start(federation, console)
            client = federation.client("researcher")
            demonstrator.run(client, results, console)
            demonstrator_images.run(client, results, federation.folder / "data", console)
            demonstrator_images.run_where_offered(client, results, federation.folder / "data", console)
            client.close()
            console.print("\n==> ending the federation")
    console.print(f"==> done in {time.monotonic() - begun:.0f} s; the results are files in {_short(results)}")


def _client_of(folder: Path) -> Client:
    """A researcher's client of a federation that runs: the demo's, or the one of ``make federation``."""
    if os.environ.get("DATA"):
        raise InvalidInputError("DATA= is for hosts that are made; those of FEDERATION= have their data: leave it out")
    env = read_env(folder)
    name, password = env["FEDPROC_USERNAME"], env["FEDPROC_PASSWORD"]
    return Client(env["FEDPROC_URL"], username=name, password=password, ca_file=env.get("FEDPROC_CA"))


def _data_of(folder: Path) -> Path | None:
    """What all hosts of a federation that runs have: the demo's, or the one of ``make federation``; None elsewhere."""
    return next((place for place in (folder / "data", folder / "files/data") if place.is_dir()), None)


def _stamp() -> str:
    return datetime.now().strftime("%Y-%m-%d-%H%M%S")


@contextlib.contextmanager
def _ended_after(federation: Federation) -> Iterator[None]:
    """End the federation whatever happens, but keep its logs if the demo failed."""
    with _ended_if_it_fails(federation):
        yield
    federation.down()


@contextlib.contextmanager
def _ended_if_it_fails(federation: Federation) -> Iterator[None]:
    """End what was begun, and keep its logs. One that ran before is another's: it goes on."""
    ran = federation.supervisor.is_running()
    try:
        yield
    except BaseException as error:
        if not ran:
            if not isinstance(error, InvalidInputError):
                for text in federation.failed_logs():
                    print(text, file=sys.stderr)
                federation.keep_logs()
            federation.down()
        raise


def _start(federation: Federation, console: Console) -> None:
    federation.up(lambda text: console.print(f"==> {text}"))


def _up(console: Console) -> None:
    federation = _federation()
    with _ended_if_it_fails(federation):
        _start(federation, console)
    console.print(closing_lines(read_env(_folder())["FEDPROC_URL"], _short(_folder())))
    if more := os.environ.get("TOOLS"):
        console.print(lines_of_tools(Path(more)))


def closing_lines(url: str, folder: str) -> str:
    """What one does next with a federation at ``url`` that lives in ``folder``."""
    other = "" if folder == _DEFAULT else f" DEMO_DIR={shlex.quote(folder)}"
    aligned = "\n".join(f"  {command:<37} # {why}" for command, why in _BY_HAND)
    return f"""
The federation is up. Open [bold]{url}/dashboard[/] in a browser, and sign in as researcher or operator:
their passwords are in {folder}/env. The API's documentation is at [bold]{url}/docs[/].
By hand:
  {f"source {shlex.quote(folder)}/env":<37} # address, user, password; fedproc for this shell
{aligned}
  curl -s -d "username=$FEDPROC_USERNAME&password=$FEDPROC_PASSWORD" "$FEDPROC_URL/token"
Logs are in {folder}/log. make demo-status{other} shows the processes, make demo-down{other} ends them."""


def lines_of_tools(root: Path) -> str:
    """What one does next with tools of one's own in ``root``."""
    ids = [manifest.tool.id for versions in load_catalogue(root).values() for manifest in versions[-1:]]
    named = ", ".join(f"fedproc run {name}" for name in ids) or f"none is in {root}: one folder each, with a tool.yaml"
    again = f"make demo-tools TOOLS={shlex.quote(str(root))}"
    return f"Your tools: {named}\nAfter a change, {again} offers them again within seconds."


def _tools(console: Console) -> None:
    from fedproc.demo.trying import offer_tools

    if not (folder := os.environ.get("TOOLS")):
        raise InvalidInputError("say which tools: make demo-tools TOOLS=folder")
    begun = time.monotonic()
    offered = offer_tools(Federation(_folder(), Path(".cache"), [_CATALOGUE]), Path(folder), console.print)
    names = ", ".join(dict.fromkeys(f"fedproc run {manifest.tool.id}" for manifest in offered))
    console.print(f"==> every host admits them, after {time.monotonic() - begun:.0f} s; the newest runs by: {names}")


def _status(console: Console) -> None:
    from rich.table import Table

    federation = Federation(_folder(), Path(".cache"), [_CATALOGUE])
    table = Table("process", "state", "since", box=None)
    for name, state, text in federation.supervisor.status():
        table.add_row(name, "[green]running[/]" if state == "RUNNING" else f"[red]{state.lower()}[/]", text)
    console.print(table)
    hosts = Table("host", "last seen", "condition", "open jobs", box=None)
    client = federation.client("operator")
    for host in client.hosts(everyone=True):
        last_seen = host.last_heartbeat.strftime("%H:%M:%S UTC") if host.last_heartbeat else "never"
        hosts.add_row(host.id, last_seen, f"{host.condition} {host.condition_text}", str(host.open_jobs))
    console.print(hosts)
    console.print(f"dashboard {client.url}/dashboard, API {client.url}, its documentation {client.url}/docs")


def _down(console: Console) -> None:
    federation = Federation(_folder(), Path(".cache"), [_CATALOGUE])
    running = federation.supervisor.is_running()
    federation.down()
    result = "ended; nothing is left running" if running else f"nothing was running in {_short(_folder())}"
    console.print(f"==> {result}. Results, if any, stay in {_short(federation.results)}")


def _short(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
