"""Works for a while; what it prints and what it writes name this one run of it."""

import argparse
import json
import time
import uuid
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, required=True)
parser.add_argument("--letter", type=Path, required=True)
parser.add_argument("--output", type=Path, required=True)
given = parser.parse_args()

run = str(uuid.uuid4())
print(f"run {run}", flush=True)
time.sleep(given.seconds)
text = "".join(path.read_text() for path in given.letter.rglob("*") if path.is_file())
(given.output / "tally.json").write_text(json.dumps({"run": run, "text": text}))
