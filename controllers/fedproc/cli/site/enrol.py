"""``fedproc site enrol``: bring this host into a federation."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedproc.cli.show import AsJson, as_json, bold, notice, say
from fedproc.cli.site.app import site
from fedproc.common.errors import InvalidInputError

if TYPE_CHECKING:
    from fedproc.site.centre.enrolment.request import EnrolmentResult

REFUSED, WAITS = 2, 3

Url = Annotated[str, typer.Option(help="address of the federation's API, https://…")]
HostArgument = Annotated[str, typer.Option(help="this host's id, as its operator told it with the code")]
CodeFile = Annotated[
    Path | None, typer.Option(help="file with the single-use code; else it is in FEDPROC_CODE, never an argument")
]
Folder = Annotated[Path, typer.Option(help="where key, certificates and the centre's keys go")]
Ca = Annotated[Path | None, typer.Option(help="who certifies the API (PEM), if the system's authorities do not")]
CaSha256 = Annotated[
    str | None, typer.Option(help="instead: sha256 of that certificate, as the operator told it with the code")
]
CatalogueSha256 = Annotated[
    list[str] | None,
    typer.Option(help="fingerprint of a key that may sign tools, as the operator told it by another way; no other may"),
]
Proxy = Annotated[str | None, typer.Option(help="http://host:port of the site's proxy; HTTPS_PROXY unless given")]
ProxyFile = Annotated[Path | None, typer.Option(help="instead: file (0600) with http://user:password@host:port")]
Renew = Annotated[bool, typer.Option("--renew", help="with a new code: a new certificate, before the old one ends")]
Wait = Annotated[float, typer.Option(help="seconds to wait for the operator's confirmation", min=0)]


@site.command()
def enrol(
    url: Url,
    host: HostArgument,
    code_file: CodeFile = None,
    folder: Folder = Path("/etc/fedproc"),
    ca: Ca = None,
    ca_sha256: CaSha256 = None,
    catalogue_sha256: CatalogueSha256 = None,
    proxy: Proxy = None,
    proxy_file: ProxyFile = None,
    wait: Wait = 0,
    renew: Renew = False,
    json: AsJson = False,
) -> None:
    """Make this host's key, ask for admission with a single-use code, and fetch the certificate once it is confirmed.

    Run it again to go on waiting; a host that is enrolled is left as it is. Exit codes: 0 enrolled, 3 it waits for
    the federation's operator, 2 the centre refuses, 1 anything else.
    """
    from fedproc.site.centre.enrolment import client
    from fedproc.site.centre.enrolment.request import EnrolmentOptions

    if ca and ca_sha256:
        raise InvalidInputError("give --ca or --ca-sha256, not both")
    fingerprints = tuple(catalogue_sha256 or ())
    options = EnrolmentOptions(url, host, folder, ca, ca_sha256, fingerprints, renew, _proxy(proxy, proxy_file))
    try:
        result = client.enrol(options, lambda: _code(code_file), wait, _show_fingerprint)
    except client.EnrolmentRefusedError as error:
        notice(f"fedproc: {error.message}")
        raise typer.Exit(REFUSED) from error
    as_json(dataclasses.asdict(result)) if json else _show(result)
    if result.state == "requested":
        raise typer.Exit(WAITS)


def _proxy(address: str | None, file: Path | None) -> str | None:
    from fedproc.net.errors import RouteError
    from fedproc.net.proxy import stated_proxy

    try:
        return stated_proxy(address, file)
    except RouteError as error:
        raise InvalidInputError(f"--proxy: {error.detail}") from error


def _code(file: Path | None) -> str:
    try:
        code = file.read_text() if file else os.environ.get("FEDPROC_CODE", "")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the code in {file} cannot be read: {error}") from error
    if not code.strip():
        raise InvalidInputError(
            "no code: give --code-file, or set FEDPROC_CODE; the federation's operator hands it out"
        )
    return code.strip()


def _show_fingerprint(fingerprint: str) -> None:
    notice("The fingerprint of this host's key (sha256):")
    notice("  ", bold(fingerprint))
    notice("Tell it to the federation's operator by another way than the code came, for example by telephone.")


def _show(result: EnrolmentResult) -> None:
    if result.state == "requested":
        say(f"{result.host} waits until the federation's operator confirms it; run this again then")
    elif result.changed:
        say(f"{result.host} is enrolled; its key, certificates and the centre's keys are in {result.folder}")
    else:
        say(f"{result.host} is enrolled already; nothing was changed in {result.folder}")


def mount(_app: typer.Typer) -> None:
    """The command is part of ``fedproc site``, which is in the application already."""
