"""The /etc that all jobs of a runner share: no name service, one user, and what programs need of the host's."""

from __future__ import annotations

import shutil
from pathlib import Path

UID = 10001
"""who a job is inside"""
USER = "tool"
"""his name there"""
HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
_FROM_HOST = ("ld.so.cache", "alternatives", "ssl/certs", "localtime", "mime.types")
_OWN = {
    "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\n{USER}:x:{UID}:{UID}:{USER}:/fedproc/work:/bin/sh\n",
    "group": f"root:x:0:\n{USER}:x:{UID}:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "",
    "hosts": HOSTS,
}


def write_accounts(folder: Path) -> list[tuple[Path, str]]:
    """Write who a job is, for images that know nobody of that number; the files, and where each belongs inside.

    Without an entry libraries fail that ask for the user's name or home (``getpwuid``).
    """
    places = []
    for name in ("passwd", "group"):
        (folder / name).write_text(_OWN[name])
        (folder / name).chmod(0o644)
        places.append((folder / name, f"/etc/{name}"))
    return places


def write_etc(folder: Path) -> None:
    """Put into an image's own /etc who a job is, and that there is no name service; whatever was there goes."""
    for name, text in _OWN.items():
        place = folder / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.write_text(text)
        place.chmod(0o644)


def make_etc(folder: Path) -> None:
    """Lay it out afresh. One folder that is shown as a whole costs a job less than ten files would."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755, parents=True)
    for name in _FROM_HOST:
        source, target = Path("/etc") / name, folder / name
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        elif source.exists():
            shutil.copyfile(source, target)
    for name, text in _OWN.items():
        (folder / name).write_text(text)
