"""A job that others must not disturb nor reach: it listens, shares memory, holds a secret, and works at its end."""

import ctypes
import os
import pathlib
import socket
import subprocess
import time

SHARED_KEY = 0x4C1F
ctypes.CDLL(None).shmget(SHARED_KEY, 4096, 0o1666)
pathlib.Path("secret.txt").write_text(os.environ["SECRET_TOKEN"])
pathlib.Path("/tmp/neighbour").write_text(os.environ["SECRET_TOKEN"])
tcp = socket.create_server(("0.0.0.0", 4711))
abstract = socket.socket(socket.AF_UNIX)
abstract.bind("\0neighbour")
abstract.listen()

print("here", flush=True)
while not pathlib.Path("end").exists():
    time.sleep(0.02)
block = bytearray(os.urandom(1000)) * 10_000
pathlib.Path("file").write_bytes(block)
subprocess.run(["/bin/true"], check=True)
print("well", flush=True)
