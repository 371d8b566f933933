"""``python -m fedproc.demo.machines_data FOLDER [TABLES]``: the data of ``make federation``'s hospitals, as archives.

``TABLES`` is the folder of EUCAIM's clinical tables, in place of synthetic ones.
``FOLDER/HOST`` is what a hospital has, as the demo's hosts have it; ``FOLDER/HOST.tar`` its tables, and
``FOLDER/HOST-images.tar`` its images, which each hospital keeps in a place of its own kind.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

from fedproc.demo import clinical, data, guarded, imaging
from fedproc.demo.configuration import DATA_HOSTS


def write_all(folder: Path, tables: Path | None) -> None:
    """Make ``folder``, which appears when it is whole.

    Raises :class:`InvalidInputError` if one of ``tables`` is missing, ImportError without the extra ``demo``.
    """
    made = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(made, ignore_errors=True)
    for write in (data.write_datasets, guarded.write_guarded, clinical.write_synthetic, imaging.write_images):
        write(made)
    if tables is not None:
        clinical.write_given(tables, made)
    for host in DATA_HOSTS:
        names = {path.name for path in (made / host).iterdir()}
        _pack(made / f"{host}.tar", made / host, names - {imaging.FOLDER})
        _pack(made / f"{host}-images.tar", made / host, names & {imaging.FOLDER})
    made.rename(folder)


def _pack(archive: Path, root: Path, names: Iterable[str]) -> None:
    with tarfile.open(archive, "w") as packed:
        for name in sorted(names):
            packed.add(root / name, name, filter=_of_root)


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
