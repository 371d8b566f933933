"""Messages of a job are looked into by its host: what is none, or is refused, arrives nowhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.site.connections.test_limits import _linked

from fedproc.site.connections.carrying import Limits, Meter, carry
from fedproc.site.connections.http_messages import REFUSED, MessageError, Messages

CANARY = b"canary-7141"
REPLY = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def _check(body: bytes) -> bytes:
    if b"undeclared" in body:
        raise MessageError("it is otherwise than the tool declares")
    return body.replace(b" ", b"")


def meter(**limits: Any) -> Meter:
    messages = Messages("/answers", 1000, _check, "j-1", "EUCAIM")
    return Meter("server", "EUCAIM", 10**6, limits=Limits(**limits), messages=messages)


def post(body: bytes, first: bytes = b"POST /answers HTTP/1.1", *headers: bytes) -> bytes:
    lines = [first, *(headers or (b"Content-Length: %d" % len(body),))]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def arrived(folder: Any, one: Meter, *sent: bytes) -> bytes:
    """What the peer gets when the job writes this; the peer answers each body."""
    (job_end, job_far), (net_end, net_far) = await _linked(folder, "job"), await _linked(folder, "net")
    (folder / "job").unlink()
    (folder / "net").unlink()
    async with asyncio.timeout(10):
        carrying = asyncio.create_task(carry(job_far, net_end, one, lambda: None))
        for part in sent:
            job_end[1].write(part)
            await job_end[1].drain()
        job_end[1].write_eof()
        found: bytes = await net_far[0].read()
        net_far[1].close()
        await carrying
        job_end[1].close()
    return found


async def test_message_goes_on_with_a_head_of_the_host_alone(tmp_path: Any) -> None:
    one = meter()
    headers = [b"X-Notes: " + CANARY, b"Content-Length: 9", b"User-Agent: " + CANARY]
    found = await arrived(tmp_path, one, post(b'{"n": 12}', b"POST /answers HTTP/1.1", *headers))
    assert found == b'POST /answers HTTP/1.1\r\nHost: peer\r\nContent-Length: 8\r\n\r\n{"n":12}'
    assert (one.sent, one.cut) == (len(found), None)


async def test_messages_follow_each_other_in_whatever_parts_they_come(tmp_path: Any) -> None:
    whole = post(b'{"n": 12}') + post(b'{"n": 13}')
    found = await arrived(tmp_path, meter(), *(whole[at : at + 7] for at in range(0, len(whole), 7)))
    assert found.count(b"POST") == 2
    assert found.endswith(b'{"n":13}')


@pytest.mark.parametrize(
    "written",
    [
        post(b'{"undeclared": 1}'),
        post(b"{}", b"POST /canary-7141 HTTP/1.1"),
        post(b"{}", b"GET /answers HTTP/1.1"),
        post(b"{}", b"POST /answers?canary-7141 HTTP/1.1"),
        post(b"{}", b"POST /answers HTTP/1.1", b"Transfer-Encoding: chunked"),
        post(b"{}", b"POST /answers HTTP/1.1", b"Transfer-Encoding: chunked", b"Content-Length: 2"),
        post(b"{}", b"POST /answers HTTP/1.1", b"Content-Length: 2", b"Content-Length: 0"),
        post(b"{}", b"POST /answers HTTP/1.1", b"Content-Length: +2"),
        post(b"{}" + b" " * 1000),
        b"POST /answers HTTP/1.1\r\nContent-Length: 12\r\n\r\n{}",
        CANARY * 10_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        CANARY,
    ],
    ids=lambda written: str(written[:24], "ascii").split("\r")[0],
)
async def test_what_is_no_declared_message_is_refused_and_arrives_nowhere(tmp_path: Any, written: bytes) -> None:
    one = meter()
    assert await arrived(tmp_path, one, written) == b""
    assert one.use().cut == REFUSED
    assert CANARY.decode() not in REFUSED
    assert await arrived(tmp_path, one, post(b'{"n": 12}')) == b"", "nothing goes after that"


async def test_limits_count_beside(tmp_path: Any) -> None:
    one = meter(sent=30)
    assert await arrived(tmp_path, one, post(b'{"n": 12}')) == b""
    assert one.cut == "more than the 30 bytes to the peer that the tool declares"
