"""What of an unpacked image the sandbox shows: nothing that the image only points at, and odd names as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedproc.site.executors.runner.bubblewrap import Sandbox, sandbox_for
from fedproc.site.executors.runner.order import Order


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The top of an image beside a folder of the host with something that is nobody's business."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "environment").write_text("http_proxy=http://user:secret@proxy\n")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    return tmp_path / "root"


def sandbox(root: Path, environment: dict[str, str] | None = None) -> Sandbox:
    order = Order(
        job="j-1", command=["true"], environment=environment or {}, directory="/", hosts=[], devices=[], cpus=1,
        memory=1 << 20, disk=1, pids=1, log=1, signal="SIGTERM", grace=1, mounts=[], writable=[], root=str(root),
    )  # fmt: skip
    return sandbox_for(order, etc=Path("/etc"), staging=False, seccomp=b"", status=1)


def given(made: Sandbox) -> list[bytes]:
    """The arguments as bwrap reads them."""
    try:
        made.command(["true"])
        return os.pread(made.descriptors[-1], 1 << 20, 0).split(b"\0")
    finally:
        made.close()


def test_folder_of_the_environment_that_is_a_link_out_is_refused(root: Path) -> None:
    (root / "fedproc").symlink_to(root.parent / "host")
    with pytest.raises(OSError, match="is a link") as refused:
        sandbox(root).close()
    assert refused.value.filename == str(root / "fedproc")


def test_environment_that_is_a_link_stays_one_for_the_job_to_follow(root: Path) -> None:
    (root / "fedproc").mkdir()
    (root / "fedproc" / "environment").symlink_to(root.parent / "host")
    made = sandbox(root)
    assert [source.path for source in made.sources] == [str(root / "etc")]
    said = given(made)
    place = said.index(b"/fedproc/environment")
    assert said[place - 2 : place] == [b"--symlink", os.fsencode(root.parent / "host")]


def test_environment_of_the_image_is_shown(root: Path) -> None:
    (root / "fedproc" / "environment").mkdir(parents=True)
    made = sandbox(root)
    made.close()
    assert str(root / "fedproc" / "environment") in [source.path for source in made.sources]


def test_names_and_variables_that_are_not_utf8_are_given_as_they_are(root: Path) -> None:
    (root / os.fsdecode(b"caf\xe9")).mkdir()
    said = given(sandbox(root, {"NAME": os.fsdecode(b"caf\xe9")}))
    assert b"/caf\xe9" in said
    assert said[said.index(b"NAME") + 1] == b"caf\xe9"
