"""A runner that is root shows jobs only what its operator named, whatever it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedproc.site.executors.runner.order import Order
from fedproc.site.executors.runner.path_policy import PathPolicy, PathRefusedError


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder with the state of a host, its data, and what is nobody's business."""
    for folder in ("state/jobs/j-1/work", "data/cohort", "secret"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "secret" / "shadow").write_text("root")
    (tmp_path / "data" / "cohort" / "table.csv").write_text("1,2")
    return tmp_path


@pytest.fixture
def policy(host: Path) -> PathPolicy:
    file = host / "bounds.toml"
    file.write_text(f'show = ["{host}/state", "{host}/data"]\nwrite = ["{host}/state"]\n')
    return PathPolicy.read(file)


def order(mounts: list[Path], writable: list[Path], devices: tuple[str, ...] = ()) -> Order:
    return Order(
        job="j-1", command=["true"], environment={}, directory="/", hosts=[], devices=list(devices), cpus=1, memory=1,
        disk=1, pids=1, log=1, signal="SIGTERM", grace=1,
        mounts=[[str(path), "/in"] for path in mounts], writable=[[str(path), "/out"] for path in writable],
    )  # fmt: skip


def test_what_is_in_bounds_is_opened(host: Path, policy: PathPolicy) -> None:
    work = host / "state/jobs/j-1/work"
    paths = policy.open_paths(order([host / "data/cohort", host / "data/cohort/table.csv"], [work]))
    assert [Path(folder).samefile(work) for folder in paths.folders] == [True]
    paths.close()
    assert paths.descriptors == []


def test_a_name_that_is_changed_meanwhile_leads_nowhere_else(host: Path, policy: PathPolicy) -> None:
    work = host / "state/jobs/j-1/work"
    paths, before = policy.open_paths(order([], [work])), work.stat().st_ino
    work.rename(host / "state/aside")
    work.symlink_to(host / "secret")
    assert Path(paths.folders[0]).stat().st_ino == before
    with pytest.raises(PathRefusedError, match="over a link"):
        policy.open(str(work), writable=True)
    paths.close()


@pytest.mark.parametrize("name", ["secret", "secret/shadow", "state/../secret", "statement", "."])
def test_what_is_out_of_bounds_is_refused(host: Path, policy: PathPolicy, name: str) -> None:
    with pytest.raises(PathRefusedError, match="bounds"):
        policy.open_paths(order([Path(f"{host}/{name}")], []))


def test_what_may_only_be_shown_is_not_given_to_write(host: Path, policy: PathPolicy) -> None:
    with pytest.raises(PathRefusedError, match="bounds"):
        policy.open_paths(order([], [host / "data/cohort"]))


def test_a_link_is_not_followed_at_the_end_or_on_the_way(host: Path, policy: PathPolicy) -> None:
    (host / "state/jobs/j-1/link").symlink_to(host / "secret")
    with pytest.raises(PathRefusedError, match="over a link"):
        policy.open_paths(order([], [host / "state/jobs/j-1/link"]))
    with pytest.raises(PathRefusedError, match="over a link"):
        policy.open_paths(order([host / "state/jobs/j-1/link/shadow"], []))


def test_what_is_not_there_is_named(host: Path, policy: PathPolicy) -> None:
    with pytest.raises(FileNotFoundError) as error:
        policy.open_paths(order([host / "data/other"], []))
    assert error.value.filename == str(host / "data/other")


@pytest.mark.parametrize("device", ["/dev/sda", "/dev/nvidia0/../sda", "/dev/mem"])
def test_only_devices_of_gpus_are_given(policy: PathPolicy, device: str) -> None:
    with pytest.raises(PathRefusedError, match="no device"):
        policy.open_paths(order([], [], (device,)))


def test_without_bounds_an_order_stays_as_it_is(host: Path) -> None:
    assert PathPolicy().open_paths(order([host / "nowhere"], [host / "secret"])).folders == [str(host / "secret")]


@pytest.mark.parametrize("text", ["", 'show = ["/"]', 'show = "/"\nwrite = 3', "show = [\n"])
def test_a_file_that_does_not_say_it_shows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "bounds.toml").write_text(text)
    with pytest.raises(PathRefusedError, match=r"bounds\.toml"):
        PathPolicy.read(tmp_path / "bounds.toml")
