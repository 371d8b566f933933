"""Builds ``fedproc-check.pyz``: this package, ``net`` and the NVML binding, for a bare Python 3.11 to 3.13.

Run by ``make host-check`` with the project's environment; needs no network. The same input gives the same bytes, so
that a published checksum can be compared.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

FEDPROC = Path(__file__).parents[1]
PACKED = ("net", "onboarding")
SHEBANG = b"#!/usr/bin/env python3\n"
EARLIEST = (1980, 1, 1, 0, 0, 0)
LEFT_OUT = {Path(__file__).name, "__pycache__"}

# Old Pythons must get as far as the sentence, so this one file is written in what all of them can read.
ENTRY = '''\
"""fedproc's host check. Usage: python3 fedproc-check.pyz [--help]"""
import sys

if sys.version_info < (3, 11):
    sys.stderr.write(
        "fedproc-check: this is Python %d.%d, it needs 3.11, 3.12 or 3.13. Install one beside it"
        " (for example 'dnf install python3.11' or 'apt install python3') and run: python3.11 %s\\n"
        % (sys.version_info[0], sys.version_info[1], sys.argv[0])
    )
    sys.exit(64)

from fedproc.onboarding import main

sys.exit(main())
'''


def build(target: Path) -> int:
    """Write the zipapp, executable, and return its size in bytes. Raises :class:`OSError`."""
    packed = io.BytesIO()
    packed.write(SHEBANG)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents()):
            archive.writestr(_entry(name), content, compresslevel=9)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(packed.getvalue())
    target.chmod(0o755)
    return target.stat().st_size


def contents() -> Iterator[tuple[str, bytes]]:
    """Names in the archive and their bytes."""
    yield "__main__.py", ENTRY.encode()
    yield "pynvml.py", _binding().read_bytes()
    yield "fedproc/__init__.py", (FEDPROC / "__init__.py").read_bytes()
    yield "fedproc/onboarding/VERSION", importlib.metadata.version("fedproc").encode()
    for path in (found for room in PACKED for found in (FEDPROC / room).rglob("*")):
        name = path.relative_to(FEDPROC)
        if path.is_file() and not LEFT_OUT & set(name.parts):
            yield f"fedproc/{name}", path.read_bytes()


def _binding() -> Path:
    """The one file of nvidia-ml-py, pure Python with its licence in its head."""
    found = importlib.util.find_spec("pynvml")
    if found is None or found.origin is None:
        raise FileNotFoundError("nvidia-ml-py is not installed here: make the project's environment first (make venv)")
    return Path(found.origin)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EARLIEST)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the host check as one file.")
    parser.add_argument("target", type=Path, nargs="?", default=Path("dist/fedproc-check.pyz"))
    target = parser.parse_args().target
    try:
        size = build(target)
    except OSError as error:
        print(f"build_zipapp: {error}", file=sys.stderr)
        return 1
    print(f"{target}: {size // 1024} KiB, run it with: python3 {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
