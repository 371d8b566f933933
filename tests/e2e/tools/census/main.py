"""Writes the number of persons that it is told."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--persons", type=int, required=True)
parser.add_argument("--output", type=Path, required=True)
given = parser.parse_args()

(given.output / "counts.json").write_text(json.dumps({"persons": given.persons}))
