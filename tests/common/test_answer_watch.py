"""Servers that let wait without being silent: with each byte a client's own time limit starts again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from tests.support.trickling import HEAD, Trickling

from fedproc.common.answer_watch import AnswerWatch

pytestmark = [pytest.mark.server, pytest.mark.slow]

SECONDS = 0.4


@pytest.fixture
def server() -> Iterator[Trickling]:
    made = Trickling()
    yield made
    made.close()


def asked(server: Trickling, watch: AnswerWatch, url: str | None = None) -> bytes:
    with (
        watch,
        httpx.Client(timeout=SECONDS, verify=False) as http,
        http.stream("GET", url or server.url, extensions=watch.extensions) as answer,
        watch.waiting(),
    ):
        return answer.read()


@pytest.mark.parametrize(
    ("at_once", "rest"),
    [
        (b"", b"H"),
        (HEAD, b"x"),
        (HEAD + b"X-A: ", b"a"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ", b"a"),
    ],
    ids=["status", "line", "header", "informational", "frame of a chunk", "trailer"],
)
def test_answer_that_trickles_is_cut(server: Trickling, at_once: bytes, rest: bytes) -> None:
    server.at_once, server.rest = at_once, rest
    watch, begun = AnswerWatch(SECONDS), time.monotonic()
    with pytest.raises(httpx.HTTPError):
        asked(server, watch)
    assert watch.was_late
    assert time.monotonic() - begun < 10 * SECONDS


def test_handshake_that_trickles_is_cut(server: Trickling) -> None:
    server.at_once, server.rest = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\x00"
    """By Python itself, whose limit is of the whole of it."""
    watch, begun = AnswerWatch(SECONDS), time.monotonic()
    with pytest.raises(httpx.HTTPError):
        asked(server, watch, server.url.replace("http:", "https:"))
    assert time.monotonic() - begun < 10 * SECONDS


def test_body_without_a_length_that_was_cut_is_known_from_one_that_ended(server: Trickling) -> None:
    server.at_once = HEAD + b"Connection: close\r\n\r\n"
    watch = AnswerWatch(SECONDS)
    with suppress(httpx.ReadError):  # the server's next bytes meet a closed connection, or do not
        asked(server, watch)
    assert watch.was_late


def test_answer_that_comes_whole_is_left_alone(server: Trickling) -> None:
    server.at_once, server.rest = HEAD + b"Content-Length: 3\r\n\r\nabc", b""
    watch = AnswerWatch(SECONDS)
    assert asked(server, watch) == b"abc"
    assert not watch.was_late
