"""``fedproc site review``: the page on this host's loopback interface, for as long as it is used."""

from __future__ import annotations

import threading
import time
from typing import Annotated

import typer

from fedproc.cli.show import bold, notice, say
from fedproc.cli.site.app import site
from fedproc.cli.site.control import Socket
from fedproc.cli.site.release_client import ReleaseClient
from fedproc.common.errors import InvalidInputError


@site.command()
def review(
    socket: Socket,
    port: Annotated[int, typer.Option(help="of the loopback interface; a free one unless given", min=0, max=65535)] = 0,
    minutes: Annotated[float, typer.Option(help="without use, then it ends", min=0.01)] = 60,
) -> None:
    """Look at what waits in a browser: serves a page to whoever has the link that it prints, under your account.

    From another machine: ssh -L PORT:127.0.0.1:PORT HOST. Ctrl-C ends it.
    """
    from fedproc.cli.site.review_page.server import LINK_SECONDS, ReviewServer

    client = ReleaseClient(socket)
    count = len(client.all())
    try:
        server = ReviewServer(client, "this host", port)
    except OSError as error:
        raise InvalidInputError(f"port {port}: {error.strerror}; choose another") from error
    waiting = f"{count} {'job waits' if count == 1 else 'jobs wait'}"
    say(f"{waiting}; open this link in a browser, once, within {LINK_SECONDS / 60:.0f} minutes; Ctrl-C ends the page:")
    say(bold(server.link))
    threading.Thread(target=_end_when_idle, args=(server, minutes * 60), daemon=True).start()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        notice()
    finally:
        server.server_close()


def _end_when_idle(server: object, seconds: float) -> None:
    while time.monotonic() - server.used < seconds:  # type: ignore[attr-defined]
        time.sleep(min(1.0, seconds))
    server.shutdown()  # type: ignore[attr-defined]


def mount(_app: typer.Typer) -> None:
    """The command is part of ``fedproc site``, which is in the application already."""
