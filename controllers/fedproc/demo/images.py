"""Images for the demo's Docker executor: a base made of Debian's packages, and the tools' own on top of it.

No image registry is needed: debootstrap fetches packages as apt does, and the engine takes the tree as an image.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import docker

from fedproc.catalog import tool_digest
from fedproc.contract.errors import SystemFault, Unavailable
from fedproc.contract.tool import Manifest
from fedproc.site.images import build, image_id, image_name

SUITE = "bookworm"
BASE_IMAGE = f"fedproc/base:{SUITE}-1"
_PACKAGES = "python3,python3-venv,ca-certificates"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_LEFT_OUT = ("./dev/*", "./proc/*", "./sys/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*")

Say = Callable[[str], None]


def make_images(tools: Iterable[tuple[Path, Manifest]], socket: Path, say: Say) -> str:
    """Make what is missing of the base image and of one image per Dockerfile of the tools; returns the base's name.

    Hosts that are given that name as ``docker.base_image`` find the tools' images made. Raises :class:`SystemFault`
    with the last words of what failed.
    """
    client = docker.DockerClient(f"unix://{socket}", version="auto", timeout=1800)
    try:
        make_base_image(client, say)
        for folder, manifest in tools:
            for dockerfile in sorted({t.runtime.dockerfile for t in manifest.tool.tasks if t.runtime.dockerfile}):
                name = image_name(tool_digest(manifest), dockerfile, BASE_IMAGE)
                if image_id(client, name) is None:
                    say(f"building the image of {manifest.tool.id}")
                    build(client, folder, dockerfile, name, BASE_IMAGE)
    finally:
        client.close()
    return BASE_IMAGE


def make_base_image(client: docker.DockerClient, say: Say) -> None:
    """Make the base image if it is not there: Debian's smallest set, Python, this machine's certificate authorities."""
    if image_id(client, BASE_IMAGE):
        return
    program = shutil.which("debootstrap", path="/usr/sbin:/usr/bin")
    if program is None:
        raise Unavailable("debootstrap is not installed: run scripts/install-system-packages docker")
    say("making the base image of Debian's packages (about a minute)")
    with tempfile.TemporaryDirectory(prefix="fedproc-base-") as folder:
        root = Path(folder) / "root"
        _run([program, "--variant=minbase", f"--include={_PACKAGES}", SUITE, str(root)])
        if _AUTHORITIES.exists():  # behind a proxy that inspects TLS, builds need what this machine trusts
            shutil.copy(_AUTHORITIES, root / _AUTHORITIES.relative_to("/"))
        (root / "etc" / "pip.conf").write_text(f"[global]\ncert = {_AUTHORITIES}\n")
        tar = Path(folder) / "root.tar"
        left_out = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
        _run(["/bin/tar", "--numeric-owner", "-C", str(root), *left_out, "-cf", str(tar), "."])
        repository, _, tag = BASE_IMAGE.partition(":")
        client.api.import_image_from_file(str(tar), repository=repository, tag=tag)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise SystemFault(f"{Path(command[0]).name} failed: {' / '.join(said[-4:])}")
