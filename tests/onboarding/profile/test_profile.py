"""A site's own profile: what it can say, and that every error is shown with its line and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedproc.onboarding.model.targets import BadInputError, from_settings
from fedproc.onboarding.profile import profile
from fedproc.onboarding.rules import CHECKS

HEAD = 'format = 1\nid = "ours"\ntitle = "Our hospital"\n'
MEMORY = '[[requirement]]\ncheck = "memory.size"\nsource = "us"\n'


def load(folder: Path, text: str) -> profile.Profile:
    (folder / "ours.toml").write_text(text)
    return profile.load_file(folder / "ours.toml")


def test_own_requirements_take_the_place_of_inherited_ones(tmp_path: Path) -> None:
    made = load(
        tmp_path,
        HEAD + 'extends = "d6.1"\ntolerance_percent = 0\ndrop = ["gpu.driver"]\n' + MEMORY + "minimum = 100\n",
    )
    by_check = {requirement.check: requirement for requirement in made.requirements}
    inherited = {requirement.check for requirement in profile.load("d6.1").requirements}
    assert set(by_check) == inherited - {"gpu.driver"}
    assert (by_check["memory.size"].minimum, by_check["memory.size"].recommended) == (100, None)
    assert {requirement.tolerance for requirement in made.requirements} == {0}


def test_the_stamp_is_of_the_requirements_in_force(tmp_path: Path) -> None:
    bare = load(tmp_path, HEAD + 'extends = "d6.1"\n')
    changed = load(tmp_path, HEAD + 'extends = "d6.1"\n' + MEMORY + "minimum = 33\n")
    assert bare.stamp().sha256 == profile.load("d6.1").stamp().sha256 != changed.stamp().sha256


def test_services_may_stand_in_a_profile_with_their_ca_beside_it(tmp_path: Path) -> None:
    service = '[[service]]\nname = "api"\nurl = "https://api.example.org"\nca_file = "ca.pem"\n'
    made = load(tmp_path, HEAD + 'extends = "fedproc"\n' + service)
    assert [(s.name, s.ca_file) for s in made.services] == [("api", tmp_path / "ca.pem")]


ERRORS = [
    ("format = 2\n", 1, "reads format 1", "begin with"),
    ('format = 1\nid = "x"\n', 1, "'title' is missing", "write title"),
    (HEAD + 'extends = "d7"\n', 4, "no built-in profile 'd7'", "d6.1"),
    (HEAD + "colour = 3\n", 4, "unknown key 'colour'", "use: format"),
    (HEAD + "tolerance_percent = 30\n", 4, "whole number from 0 to 20", "write for example 8"),
    (HEAD + 'drop = ["gpu.vram"]\n', 4, "'gpu.vram' is not inherited", "name some of"),
    (HEAD + 'extends = "d6.1"\ndrop = "gpu.vram"\n', 5, "must be a list", "drop = ["),
    (HEAD + MEMORY, 4, "no threshold", "give 'minimum'"),
    (HEAD + MEMORY + "minimum = -1\n", 7, "-1 does not do", "number above 0"),
    (HEAD + MEMORY + 'minimum = "32"\n', 7, "'32' does not do", "number above 0"),
    (HEAD + MEMORY + "minimum = 64\nrecommended = 32\n", 8, "asks less than", "exchange them"),
    (HEAD + MEMORY + "minimum = 1\n" + MEMORY + "minimum = 2\n", 9, "comes twice", "keep one"),
    (
        HEAD + "\n# a comment\n" + MEMORY.replace("memory.size", "memory.sise"),
        7,
        "no check 'memory.sise'",
        "use one of",
    ),
    (HEAD + '[[requirement]]\ncheck = "gpu.driver"\nminimum = "1"\n', 4, "'source' is missing", "who requires"),
    (HEAD + '[[requirement]]\ncheck = "gpu.driver"\nsource = "us"\nminimum = 535\n', 7, "535 does not do", "in quotes"),
    (HEAD + '[[requirement]]\ncheck = "disk.ssd"\nsource = "us"\nminimum = false\n', 7, "False", "write true"),
    (HEAD + '[[requirement]]\ncheck = "cpu.cores"\nsource = "us"\nminimum = [{ mhz = 3 }]\n', 7, "mhz", "keys: cores"),
    (
        HEAD + '[[requirement]]\ncheck = "network.clock"\nsource = "us"\nminimum = 30\nrecommended = 60\n',
        8,
        "less",
        "ex",
    ),
    (HEAD + '[[service]]\nname = "api"\nurl = "ftp://x"\n', 6, "'ftp://x' is no address", "https://"),
    (HEAD + '[[service]]\nname = "API"\nurl = "https://x"\n', 6, "'API' does not do", "small letters"),
    (HEAD + '[[service]]\nname = "api"\n', 4, "'url' is missing", "https://"),
    (HEAD + "[requirement]\nx = 1\n", 4, "must be tables", "[[requirement]]"),
]


@pytest.mark.parametrize(("text", "line", "error", "cure"), ERRORS)
def test_a_fault_is_told_with_file_line_and_cure(
    check: Any, tmp_path: Path, text: str, line: int, error: str, cure: str
) -> None:
    with pytest.raises(BadInputError) as raised:
        load(tmp_path, text)
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}/ours.toml:{line}: ")
    assert error in message
    assert cure in message


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"format = \n", "line 1"), (b"\xff\xfe", "UTF-8"), (b"#" * (1 << 21), "larger than")],
)
def test_what_is_no_toml_is_told_with_the_file(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "ours.toml").write_bytes(content)
    with pytest.raises(BadInputError, match=says) as raised:
        profile.load_file(tmp_path / "ours.toml")
    assert str(tmp_path / "ours.toml") in str(raised.value)


def test_a_profile_file_is_used_and_a_bad_one_is_exit_code_64(check: Any, tmp_path: Path) -> None:
    good = tmp_path / "good.toml"
    good.write_text(HEAD + MEMORY + "minimum = 0.001\n")
    result = check("--profile-file", str(good))
    assert (result.code, result.verdicts) == (0, {"memory.size": "meets-recommended"})
    bad = tmp_path / "bad.toml"
    bad.write_text(HEAD + MEMORY + "minimum = 0\n")
    done = check.run("check", "--profile-file", str(bad))
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == f"fedproc-check: {bad}:7: 'minimum': 0 does not do; write a number above 0\n"


def test_every_built_in_profile_can_be_printed_and_taken_as_ones_own(check: Any, tmp_path: Path) -> None:
    for name in check.run("profiles").stdout.split():
        (tmp_path / "copy.toml").write_text(check.run("profiles", name).stdout)
        assert profile.load_file(tmp_path / "copy.toml").stamp() == profile.load(name).stamp()


def test_the_documentation_has_a_profile_that_works_and_names_every_check(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "host-check.md").read_text()
    example = next(part for part in text.split("```toml\n") if part.startswith("format")).split("```")[0]
    made = load(tmp_path, example)
    assert {r.check: r.minimum for r in made.requirements}["disk.work"] == 200
    assert [check for check in CHECKS if f"`{check}`" not in text] == []
    assert [name for name in profile.built_in() if f"`{name}`" not in text] == []


def test_byte_order_mark_before_a_profile_or_the_settings_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_bytes(b"\xef\xbb\xbf" + (HEAD + 'extends = "d6.1"\n').encode())
    assert profile.load_file(tmp_path / "ours.toml").id == "ours"
    (tmp_path / "host.toml").write_bytes(b'\xef\xbb\xbfkey = "/k"\n')
    assert from_settings(tmp_path / "host.toml").key == Path("/k")
