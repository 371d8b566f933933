"""Images become folders: as their layers say, never outside, and never more than the room there is."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.support.nested import nested_folders
from tests.support.oci_images import file, folder, image_of, layer, link, special

from fedproc.catalog.oci import Blobs, ImageError
from fedproc.site.executors.image_root import image_root
from fedproc.site.tools.image_roots import layers as layers_module
from fedproc.site.tools.image_roots.layers import Room
from fedproc.site.tools.image_roots.tree import Tree, remove_tree
from fedproc.site.tools.image_roots.unpacking import Order, unpack

ROOM = 10_000_000


def unpacked(place: Path, *layers: bytes, room: int = ROOM, **config: object) -> Path:
    blobs = Blobs(place / "blobs")
    image = image_of(blobs, layers, **config)
    unpack(Order(image.content.decode(), str(blobs.folder), str(place / "made"), room))
    found = image_root(str(place / "made"))
    assert found is not None
    return found.root


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")} - {
        f"etc{name}" for name in ("", "/passwd", "/group", "/hosts", "/resolv.conf", "/nsswitch.conf")
    }


def test_later_layers_replace_and_hide_what_earlier_ones_brought(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        layer(folder("a"), file("a/kept"), file("a/gone"), file("a/new", b"old"), file("b/c/deep"), file("b/top")),
        layer(file("a/.wh.gone", b""), file("a/new", b"new"), file("b/here"), file("b/.wh..wh..opq", b"")),
    )
    assert names(root) == {"a", "a/kept", "a/new", "b", "b/here"}
    assert (root / "a/new").read_bytes() == b"new"


def test_folder_that_a_layer_makes_anew_keeps_nothing_of_before_where_it_says_so(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        layer(file("b/c/old"), file("b/c/d/old")),
        layer(folder("b/c"), file("b/c/new"), file("b/.wh..wh..opq", b"")),
    )
    assert names(root) == {"b", "b/c", "b/c/new"}


def test_layer_does_not_hide_what_is_its_own(tmp_path: Path) -> None:
    root = unpacked(tmp_path, layer(file("a")), layer(file("a", b"mine"), file(".wh.a", b"")))
    assert (root / "a").read_bytes() == b"mine"


def test_kinds_that_change_between_layers(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        layer(file("was-folder/x"), file("was-file"), link("was-link", "was-folder"), file("l/x")),
        layer(file("was-folder"), folder("was-file"), folder("was-link"), link("l", "was-file")),
    )
    assert (root / "was-folder").is_file()
    assert (root / "was-file").is_dir()
    assert (root / "was-link").is_dir()
    assert not (root / "was-link").is_symlink()
    assert (root / "l").is_symlink()


def test_links_are_followed_inside_the_root_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = unpacked(
        tmp_path,
        layer(
            folder("usr/bin"),
            link("bin", "usr/bin"),
            link("up", "../../../../../../.."),
            link("away", str(outside)),
            link("round", "again"),
            link("again", "/round"),
        ),
        layer(file("bin/tool", mode=0o755), file("up/from-above"), file("away/written")),
    )
    assert (root / "usr/bin/tool").stat().st_mode & 0o7777 == 0o755
    assert (root / "from-above").is_file()
    assert list(outside.iterdir()) == []
    assert (root / str(outside).lstrip("/") / "written").is_file()


def test_hard_links_share_one_file_of_the_image(tmp_path: Path) -> None:
    root = unpacked(tmp_path, layer(file("a", b"both"), link("b/c", "a", hard=True)), layer(link("d", "/a", hard=True)))
    assert (root / "a").stat().st_ino == (root / "b/c").stat().st_ino == (root / "d").stat().st_ino


def test_modes_let_a_job_do_what_it_may_in_an_engine_and_nobody_else_more(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        layer(
            file("su", mode=0o6755),
            file("closed", mode=0o600),
            folder("shut", mode=0o700),
            file("shut/in"),
            folder("t", 0o7777),
        ),
    )
    assert {name: (root / name).stat().st_mode & 0o7777 for name in ("su", "closed", "shut", "t")} == {
        "su": 0o755,
        "closed": 0,
        "shut": 0,
        "t": 0o755,
    }
    remove_tree(root)
    assert not root.exists()


def test_what_is_the_jobs_own_in_an_image_it_may_read(tmp_path: Path) -> None:
    (own, content), (groups, _) = file("own", mode=0o400), file("groups", mode=0o040)
    own.uid = groups.gid = 10001
    root = unpacked(tmp_path, layer((own, content), (groups, content)))
    assert [(root / name).stat().st_mode & 0o7777 for name in ("own", "groups")] == [0o644, 0o644]


def test_folder_is_closed_for_what_later_layers_bring_too(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        layer(folder("shut", 0o700), folder("open", 0o700), file("again/x"), folder("again", 0o700)),
        layer(file("shut/in"), folder("open"), file(".wh.again", b"")),
        layer(file("again/y")),
    )
    assert {name: (root / name).stat().st_mode & 0o7777 for name in ("shut", "open", "again")} == {
        "shut": 0,
        "open": 0o755,
        "again": 0o755,
    }


def test_devices_and_pipes_are_left_out(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        layer(
            special("d/null", tarfile.CHRTYPE), special("d/disk", tarfile.BLKTYPE), special("d/pipe", tarfile.FIFOTYPE)
        ),
    )
    assert names(root) == {"d"}


def test_root_says_who_a_job_is_whatever_the_image_had_there(tmp_path: Path) -> None:
    root = unpacked(tmp_path, layer(folder("etc/hosts"), file("etc/hosts/x"), link("etc/passwd", "/../../etc/passwd")))
    assert "tool:x:10001:" in (root / "etc/passwd").read_text()
    assert not (root / "etc/passwd").is_symlink()
    assert "localhost" in (root / "etc/hosts").read_text()


def test_odd_names_stay_as_they_are(tmp_path: Path) -> None:
    odd = ["-rf", "new\nline", "caf\udce9", " ", "ü", "a" * 255]
    root = unpacked(tmp_path, layer(*(file(f"o/{name}") for name in odd)))
    assert sorted(path.name for path in (root / "o").iterdir()) == sorted(odd)


def test_variables_are_the_images_but_not_whose_it_is(tmp_path: Path) -> None:
    unpacked(tmp_path, layer(), config={"Env": ["A=b=c", "HOME=/root", "PATH=/opt/bin", "EMPTY="]})
    found = image_root(str(tmp_path / "made"))
    assert found is not None
    assert found.environment == {"A": "b=c", "PATH": "/opt/bin", "EMPTY": ""}


REFUSED = {
    "up": (layer(file("../x")), "out of the image's root"),
    "up inside": (layer(file("a/../../x")), "out of the image's root"),
    "hard link up": (layer(link("a", "../../etc/shadow", hard=True)), "out of the image's root"),
    "hard link to nothing": (layer(link("a", "none", hard=True)), "no file of the image"),
    "hard link nowhere": (layer(link("a", "none/where", hard=True)), "not there"),
    "hard link to a folder": (layer(folder("d"), link("a", "d", hard=True)), "no file of the image"),
    "links without end": (layer(link("a", "b"), link("b", "a"), file("a/x")), "links without end"),
    "below a file": (layer(file("a"), file("a/b")), "no folder"),
    "whiteout of nothing": (layer(file(".wh...", b"")), "whiteout of nothing"),
    "long name": (layer(file("n" * 300)), None),
    "etc elsewhere": (layer(folder("usr/etc"), link("etc", "usr/etc")), "/etc is a link"),
    "no tar": (b"no tar at all" * 100, "tar"),
    "cut": (gzip.compress(layer(file("a", bytes(100_000))))[:-40], "cannot be unpacked"),
    "other bytes after an entry": (layer(file("a"))[:1024] + b"\x07" * 1024, "no whole tar"),
    "fedproc elsewhere": (layer(folder("host"), link("fedproc", "host")), "/fedproc is a link"),
    "fedproc outside": (layer(link("fedproc", "/etc")), "/fedproc is a link"),
    "many at the top": (layer(*(folder(f"d{number}") for number in range(100))), "at its top"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_image_holds_is_refused(tmp_path: Path, case: str) -> None:
    content, text = REFUSED[case]
    with pytest.raises((ImageError, OSError), match=text):
        unpacked(tmp_path, content)
    assert not (tmp_path / "x").exists()


def test_image_for_other_machines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="machines of the kind riscv64"):
        unpacked(tmp_path, layer(), architecture="riscv64")


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (["A=" + "x" * 70_000], "variables of 70003 bytes, more than 65536"),
        ([f"V{number}=" + "é" * 100 for number in range(1000)], "more than 65536"),
        (["A=\ud800"], "variables that no program can have"),
    ],
)
def test_variables_that_no_job_can_be_given_are_refused(tmp_path: Path, variables: list[str], text: str) -> None:
    with pytest.raises(ImageError, match=text):
        unpacked(tmp_path, layer(), config={"Env": variables})


def test_variables_that_are_not_utf8_stay_as_they_are(tmp_path: Path) -> None:
    unpacked(tmp_path, layer(), config={"Env": ["A=caf\udce9"]})
    found = image_root(str(tmp_path / "made"))
    assert found is not None
    assert found.environment == {"A": "caf\udce9"}


def test_layer_that_was_changed_on_the_disk_is_refused(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    image = image_of(blobs, [layer(file("a"))])
    place = blobs.path(image.layers[0].digest)
    place.write_bytes(place.read_bytes() + b"\0")
    with pytest.raises(ImageError, match="remove"):
        unpack(Order(image.content.decode(), str(blobs.folder), str(tmp_path / "made"), ROOM))


def test_more_than_there_is_room_for_is_refused_before_it_is_written(tmp_path: Path) -> None:
    large = tarfile.TarInfo("large")
    large.size = 1 << 40
    head = large.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(ImageError, match="more than 9 MB"):
        unpacked(tmp_path, head + b"\0" * 2048)


@pytest.mark.slow
def test_bomb_of_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros behind the end of the archive, which no reader of tar minds."""
    monkeypatch.setattr("fedproc.site.tools.image_roots.unpacking.MOST_ENTRIES", 1000)
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb", compresslevel=1) as packed:
        packed.write(layer(file("a")))
        for _ in range(25):
            packed.write(bytes(1_000_000))
    with pytest.raises(ImageError, match="bomb"):
        unpacked(tmp_path, bomb.getvalue())


def test_more_entries_than_an_image_may_have_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedproc.site.tools.image_roots.unpacking.MOST_ENTRIES", 10)
    with pytest.raises(ImageError, match="more than 10 files"):
        unpacked(tmp_path, layer(*(file(f"d/{number}") for number in range(11))))


def test_folders_that_no_entry_names_count_as_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedproc.site.tools.image_roots.unpacking.MOST_ENTRIES", 100)
    with pytest.raises(ImageError, match="more than 100 files"):
        unpacked(tmp_path, layer(*(file(f"{number}/" + "a/" * 30 + "f") for number in range(5))))
    assert sum(1 for _ in tmp_path.rglob("*")) < 120


@pytest.mark.slow
@pytest.mark.parametrize("last", [file("a/" * 300 + "f"), folder("/".join("a" * 257)), link("a/" * 300 + "f", "x")])
def test_folders_too_deep_for_those_who_clean_up_are_refused(tmp_path: Path, last: tarfile.TarInfo) -> None:
    with pytest.raises(ImageError, match="nests folders deeper than 256"):
        unpacked(tmp_path, layer(last))
    remove_tree(tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_folders_are_not_made_deeper_over_a_link(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="nests folders deeper than 256"):
        unpacked(tmp_path, layer(folder("/".join("a" * 200)), link("l", "/".join("a" * 200)), file("l/" + "b/" * 60)))


@pytest.mark.slow
def test_folders_of_any_depth_are_removed(tmp_path: Path) -> None:
    place = tmp_path / "image"
    nested_folders(place, 1200)
    assert sys.getrecursionlimit() < 1200
    (place / "away").symlink_to(tmp_path)
    remove_tree(place)
    assert list(tmp_path.iterdir()) == []
    remove_tree(place)


def pax(name: str, content: bytes = b"", **headers: str) -> tuple[tarfile.TarInfo, bytes]:
    info, content = file(name, content)
    info.pax_headers = {key.replace("_", "."): value for key, value in headers.items()}
    return info, content


def base256(size: int) -> bytes:
    info = tarfile.TarInfo("a")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "content",
    [
        layer(pax("minus", GNU_sparse_size="-1000000000000000"), file("large", bytes(ROOM + 1))),
        layer(pax("minus", GNU_sparse_realsize="-1000000000000000"), file("large", bytes(ROOM + 1))),
        base256(-1_000_000) + layer(file("large", bytes(ROOM + 1))),
    ],
)
def test_size_below_nothing_gives_no_room(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ImageError, match=r"size of -\d+"):
        unpacked(tmp_path, content)


def test_file_that_is_longer_than_its_entry_says_is_refused(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path), Room(1000, 10))
    info, _ = file("a", b"x" * 10)
    with pytest.raises(ImageError, match="more than the 10 bytes"):
        tree.apply(info, io.BytesIO(b"x" * 11))


def test_header_that_would_be_kept_in_memory_is_refused(tmp_path: Path) -> None:
    huge = tarfile.TarInfo("huge")
    huge.type, huge.size = tarfile.XHDTYPE, layers_module._LONGEST_HEADER + 1
    with pytest.raises(ImageError, match="header"):
        unpacked(tmp_path, huge.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 2048)


@pytest.mark.slow
def test_layers_packed_by_zstd(tmp_path: Path) -> None:
    packed = subprocess.run(
        ["zstd", "-qc"], input=layer(file("a", b"z" * 5000)), capture_output=True, check=True
    ).stdout
    assert (unpacked(tmp_path, packed) / "a").read_bytes() == b"z" * 5000
    with pytest.raises(ImageError, match="cannot be unpacked"):
        unpacked(tmp_path / "cut", packed[:-10])
