"""Answers a letter in capitals; with ``--status`` it can say that it failed although it exits with 0."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--letter", type=Path, required=True)
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--status", required=True)
given = parser.parse_args()

text = next(path for path in given.letter.rglob("*") if path.is_file()).read_text()
(given.output / "answer.txt").write_text(text.upper())
(given.output / "status.json").write_text(json.dumps({"status": given.status}))
