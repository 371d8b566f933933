"""What tests of several rooms share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedproc.demo.data import SHARES, write_datasets


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's datasets, laid out as a host lays them out: ``HOST/INPUT/DATASET``."""
    made, root = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("data")
    write_datasets(made)
    for host in SHARES:
        for dataset in ("breast-cohort", "wisconsin"):
            shutil.copytree(made / host / dataset, root / host / dataset / dataset)
    return root
