"""Stands for a program that a warm server runs: ``client.py SOCKET MAIN ARGUMENT...``. Ends as that one ends."""

import json
import os
import signal
import socket
import sys
from pathlib import Path

connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
asked = {"argv": sys.argv[2:], "cwd": str(Path.cwd()), "environment": dict(os.environ)}
socket.send_fds(connection, [json.dumps(asked).encode() + b"\n"], [0, 1, 2])
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: connection.send(bytes([number])))
answer = b""
while more := connection.recv(64):
    answer += more
code = int(answer or "70")
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
