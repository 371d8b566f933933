"""A server that is never silent, and never done."""

from __future__ import annotations

import socket
import threading

HEAD = b"HTTP/1.1 200 OK\r\n"


class Trickling:
    """Sends ``at_once`` and then one byte of ``rest`` after the other, for ever."""

    def __init__(self) -> None:
        self.at_once, self.rest = HEAD, b"x"
        self._gone = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self._gone.is_set():
            try:
                channel, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(channel,), daemon=True).start()

    def _answer(self, channel: socket.socket) -> None:
        with channel:
            try:
                channel.recv(1 << 16)
                channel.sendall(self.at_once)
                while not self._gone.wait(0.02):
                    channel.sendall(self.rest)
            except OSError:
                """The other side has had enough."""

    def close(self) -> None:
        self._gone.set()
        self._listener.close()
