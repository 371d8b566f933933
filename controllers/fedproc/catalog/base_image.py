"""A base image made of Debian's packages, for places where no image registry is reached.

debootstrap fetches packages as apt does, and the engine takes the tree as an image.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import docker

from fedproc.catalog.building import image_id
from fedproc.common.errors import SystemFaultError, UnavailableError

SUITE = "bookworm"
BASE_IMAGE = f"fedproc/base:{SUITE}-1"
_PACKAGES = "python3,python3-venv,ca-certificates"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_ALONE = ("/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child")
"""What debootstrap mounts in its folder is gone with it, however it ends."""
_LEFT_OUT = ("./dev/*", "./proc/*", "./sys/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*")

Say = Callable[[str], None]


def make_base_image(client: docker.DockerClient, say: Say, kept: Path | None = None) -> str:
    """Make the base image if it is not there: Debian's smallest set, Python, this machine's certificate authorities.

    ``kept`` is where its tree stays, as a tar, for the next engine. Returns its name. Raises
    :class:`SystemFaultError` with the last words of what failed.
    """
    if image_id(client, BASE_IMAGE):
        return BASE_IMAGE
    if kept is not None:
        return _imported(client, make_base_tar(kept, say))
    with tempfile.TemporaryDirectory(prefix="fedproc-base-") as folder:
        return _imported(client, make_base_tar(Path(folder) / "base.tar", say))


def make_base_tar(kept: Path, say: Say) -> Path:
    """Make the tree as a tar at ``kept``, if it is not there; returns that. Raises as :func:`make_base_image`."""
    if kept.exists():
        return kept
    program = shutil.which("debootstrap", path="/usr/sbin:/usr/bin")
    if program is None:
        raise UnavailableError("debootstrap is not installed: run scripts/install-system-packages docker")
    say("making the base image of Debian's packages (about a minute)")
    with tempfile.TemporaryDirectory(prefix="fedproc-base-") as folder:
        root = Path(folder) / "root"
        _run([*_ALONE, program, "--variant=minbase", f"--include={_PACKAGES}", SUITE, str(root)])
        if _AUTHORITIES.exists():  # behind a proxy that inspects TLS, builds need what this machine trusts
            shutil.copy(_AUTHORITIES, root / _AUTHORITIES.relative_to("/"))
        (root / "etc" / "pip.conf").write_text(f"[global]\ncert = {_AUTHORITIES}\n")
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        left_out = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
        _run(["/bin/tar", "--numeric-owner", "-C", str(root), *left_out, "-cf", str(partial), "."])
        return partial.rename(kept)


def _imported(client: docker.DockerClient, tar: Path) -> str:
    repository, _, tag = BASE_IMAGE.partition(":")
    answer = client.api.import_image_from_file(str(tar), repository=repository, tag=tag)
    if image_id(client, BASE_IMAGE) is None:  # Podman 4.3 leaves the tag out
        client.api.tag(json.loads(str(answer).splitlines()[-1])["status"], repository, tag)
    return BASE_IMAGE


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise SystemFaultError(f"{Path(command[0]).name} failed: {' / '.join(output[-4:])}")
