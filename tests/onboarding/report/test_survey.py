"""The reports of a federation side by side."""

from __future__ import annotations

from typing import Any

import pytest

from fedproc.onboarding.report import survey


@pytest.fixture
def reports(check: Any, gpus: Any, gpu_line: Any) -> list[tuple[str, Any]]:
    two = gpus().say(gpu_line("NVIDIA A10", 23028, uuid="GPU-a"), gpu_line("NVIDIA A10", 23028, uuid="GPU-b"))
    topics = ("--only", "gpu,cpu,memory,disk,os,container")
    return [
        ("UB", two(*topics).report),
        ("BSC", check(*topics, "--profile", "d6.1-cpu").report),
        ("FORTH", None),
        ("OLD", {"format": 0}),
        ("BAD", {"format": 1, "lines": 3}),
    ]


def test_each_host_has_its_row_by_id_and_what_is_wrong_is_said(reports: list[tuple[str, Any]]) -> None:
    rows = {row.host: row for row in survey.rows(reports)}
    assert list(rows) == ["BAD", "BSC", "FORTH", "OLD", "UB"]
    assert "2 x NVIDIA A10 (22.5 GiB)" in rows["UB"].cells
    assert "none" in rows["BSC"].cells
    assert rows["FORTH"].note
    assert "report cannot be read" in rows["OLD"].note
    assert "report cannot be read" in rows["BAD"].note


def test_the_table_and_the_page_say_the_same(reports: list[tuple[str, Any]]) -> None:
    shown, page = survey.render_text(reports), survey.render_html(reports)
    one_line = " ".join(shown.split())
    for row in survey.rows(reports):
        for cell in (row.host, *row.cells, row.note):
            assert cell in one_line or cell == "nothing"
            assert survey.markup.text(cell) in page
    assert shown.splitlines()[-1] == survey.summary(survey.rows(reports))


def test_a_federation_without_hosts_has_a_page_too() -> None:
    assert survey.render_text([]).startswith("Host")
    assert survey.render_html([]).startswith("<!doctype html>")


def test_what_a_host_says_cannot_steer_a_terminal_or_a_page(reports: list[tuple[str, Any]]) -> None:
    evil = reports[0][1]
    evil["facts"]["gpu"]["gpus"][0]["name"] = "<script>alert(1)</script>\x1b[2J"
    assert "\x1b" not in survey.render_text([("UB", evil)])
    assert "<script>" not in survey.render_html([("UB", evil)])


def test_what_a_host_could_not_tell_is_not_told_as_missed(check: Any) -> None:
    report = check("--only", "data-api,memory", "--profile", "fedproc").report
    [row] = survey.rows([("UB", report)])
    assert row.cells[-2:] == ("nothing", "data-api.access")
    shown = survey.render_text([("UB", report)])
    assert "could not tell: data-api.access" in shown
    assert "missed" not in shown
    assert shown.splitlines()[-1] == "1 hosts: 0 meet their profile, 0 do not, 1 could not tell, 0 without a report."
