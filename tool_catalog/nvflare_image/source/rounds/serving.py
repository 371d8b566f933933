"""The server's end: it waits for all hosts' answers of a round, and replies to each with the next round."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from regression.answers import Answer
from regression.faults import Broken, Fault
from regression.jsonfile import strict_object

from .messages import LARGEST, PATH, REFUSED, failed

READ_SECONDS = 60
"""the longest pause within a message"""
DELIVERY_SECONDS = 10
"""the longest wait for hosts to take their last reply"""
FEW = (
    "fewer than min_cell persons would carry its sums at these coefficients. That happens where the outcome can be "
    "told exactly from the terms (separation): leave terms out, or join categories"
)


class Rounds:
    """Answers by host of the round that is under way. All waiting is by one condition."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = tuple(hosts)
        self._changed = threading.Condition()
        self._answers: dict[str, dict[str, Any]] = {}
        self._number = 0
        self._replies: list[bytes] = []
        self._waiting = 0

    def gather(self, seconds: float) -> list[Answer]:
        """The answers of all hosts to the last reply, in the hosts' order.

        Raises :class:`Broken` naming the hosts that have not answered within ``seconds``, or let nothing out.
        """
        ends = time.monotonic() + seconds
        with self._changed:
            while len(self._answers) < len(self.hosts) and time.monotonic() < ends:
                self._changed.wait(max(0.0, ends - time.monotonic()))
            answers = dict(self._answers)
        missing = [host for host in self.hosts if host not in answers]
        if missing:
            raise Broken(f"round {self._number}: no answer of {', '.join(missing)} within {seconds:g} s; see its log")
        if refusing := [host for host in self.hosts if answers[host] == REFUSED]:
            raise Broken(f"round {self._number}: {', '.join(refusing)} lets nothing out: {FEW}")
        return [Answer(host, answers[host]) for host in self.hosts]

    def reply(self, body: bytes) -> None:
        """What every host gets for its answer."""
        with self._changed:
            self._answers, self._number = {}, self._number + 1
            self._replies.append(body)
            self._changed.notify_all()

    def wait_for_delivery(self, seconds: float) -> None:
        """Until no host waits for its reply any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting == 0, seconds)

    @contextmanager
    def exchange(self, body: bytes) -> Iterator[bytes]:
        """Take a host's answer in, and give the reply to it once there is one. Raises Fault for what is none."""
        told = strict_object(body, "a host's message")
        host, number, answer = told.get("host"), told.get("round"), told.get("answer")
        with self._changed:
            if told.keys() != {"host", "round", "answer"} or host not in self.hosts or not isinstance(answer, dict):
                raise Fault("not an answer of a host of this experiment")
            if number != self._number or host in self._answers:
                raise Fault(f"{host} answers another round, or twice")
            self._answers[host] = answer
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._replies) > number)
        try:
            yield self._replies[number]
        finally:
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()


@contextmanager
def serving(port: int, hosts: Sequence[str]) -> Iterator[Rounds]:
    """Listen on ``port`` of the loopback interface. A failure inside is told to the hosts before it goes on."""
    rounds = Rounds(hosts)
    server = _Server(("127.0.0.1", port), _handler(rounds))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        print(f"waiting on port {port} for {', '.join(rounds.hosts)}", flush=True)
        yield rounds
    except BaseException:
        rounds.reply(failed())
        raise
    finally:
        rounds.wait_for_delivery(DELIVERY_SECONDS)
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line for a connection that was cut: whose answer is missing is said by the round, with its name."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            return super().handle_error(request, client_address)
        print(f"a host's connection ended before its reply was sent: {error}", file=sys.stderr, flush=True)


def _handler(rounds: Rounds) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = READ_SECONDS

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            size = int(length) if length.isdecimal() and len(length) < 10 else 0
            if self.path != PATH or not 0 < size <= LARGEST:
                self.send_error(400)
                return
            try:
                with rounds.exchange(self.rfile.read(size)) as body:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
            except Fault as fault:
                print(f"a message is not used: {fault}", file=sys.stderr, flush=True)
                self.send_error(400)

        def log_message(self, *_: Any) -> None:
            """Nothing: a message that is used needs no line."""

    return Handler
