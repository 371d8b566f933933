"""An NTP server whose clock is ahead by the seconds in /run/ahead."""

import socket
import struct
import time
from pathlib import Path

SINCE_1900 = 2208988800


def stamp(seconds):
    return struct.pack("!II", int(seconds) + SINCE_1900, int(seconds % 1 * (1 << 32)))


def answer(request, now):
    head = struct.pack("!BBbb", 0x24, 1, 4, -20) + struct.pack("!II4s", 0, 1 << 4, b"TEST")
    return head + stamp(now) + request[40:48] + stamp(now) + stamp(now)


ahead = Path("/run/ahead")
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 123))
while True:
    request, asker = server.recvfrom(1024)
    now = time.time() + (float(ahead.read_text()) if ahead.exists() else 0)
    server.sendto(answer(request, now), asker)
