"""What ``make demo-up`` says at its end can be copied."""

from __future__ import annotations

from fedproc.demo.__main__ import closing_lines


def test_federation_in_another_folder_is_named_to_make() -> None:
    assert "make demo-down DEMO_DIR='/tmp/my demo' ends them" in closing_lines("http://c", "/tmp/my demo")
    assert "make demo-down ends them" in closing_lines("http://c", ".demo")


def test_commands_are_explained_in_one_column() -> None:
    lines = [line for line in closing_lines("http://c", ".demo").splitlines() if " # " in line]
    assert len(lines) == 5
    assert len({line.index(" # ") for line in lines}) == 1
