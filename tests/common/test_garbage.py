"""A program that runs for long looks for garbage in what it has made since its start, not in what it has loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import gc
from fedproc.common.garbage import keep_what_is_loaded

class Made:
    pass

loaded = [[] for _ in range(10_000)]
keep_what_is_loaded()
made = Made()
made.itself = made
looked_at = {id(each) for each in gc.get_objects()}
print(gc.isenabled(), any(id(each) in looked_at for each in loaded), id(made) in looked_at)
"""


@pytest.mark.process
def test_what_was_loaded_is_looked_at_no_more_and_what_is_made_later_is() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "False", "True"]
