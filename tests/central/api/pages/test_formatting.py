"""Words of the pages: numbers with their plural, states in sentences, and no command where a page has its own way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fedproc.central.api.pages.backend import ApiError
from fedproc.central.api.pages.formatting import counted, in_pages, timed
from fedproc.central.api.pages.live import _news
from fedproc.central.api.pages.rendering import environment
from fedproc.central.api.pages.timeline import Picture


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("there is no tool 'leam'; fedproc tools lists what there is", "there is no tool 'leam'"),
        ("host BSCX is not enrolled; did you mean BSC? fedproc hosts lists the hosts there are",
         "host BSCX is not enrolled; did you mean BSC?"),
        ("no code was given out for PISA: fedproc hosts code PISA gives one", "no code was given out for PISA"),
        ("fedproc data show UB:cohort lists its columns", ""),
        ("add one of UB's (fedproc data), or leave UB out", "add one of UB's, or leave UB out"),
        ("name hosts or datasets; fedproc data lists what there is", "name hosts or datasets"),
        ("say for which of them (--project)", "say for which of them"),
        ("the disk is full", "the disk is full"),
    ],
)  # fmt: skip
def test_a_message_names_no_command_in_a_page(told: str, shown: str) -> None:
    assert in_pages(told) == shown


def test_a_fault_of_a_form_is_told_without_the_shape_of_the_request() -> None:
    detail = "the request is not as the API takes it: body.host is no host id; /docs has the shape of each request"
    error = ApiError(422, {"detail": detail, "errors": [{"where": "body.host", "what": "is no host id"}]})
    assert error.shown == "host: is no host id"
    assert ApiError(409, {"detail": "it has ended"}).shown == "it has ended"


def test_one_is_no_plural() -> None:
    assert [counted(number, "open job") for number in (0, 1, 2)] == ["0 open jobs", "1 open job", "2 open jobs"]


def test_news_that_are_left_out_are_counted() -> None:
    rows: list[Any] = [SimpleNamespace(kind="state", data={"state": "running"}, host="UB", task=str(number), job="j")
                       for number in range(5)]  # fmt: skip
    assert _news(rows[:4]).startswith("1 more change; ")
    assert _news(rows).startswith("2 more changes; ")


def test_a_time_at_the_end_of_the_picture_is_not_cut_off() -> None:
    picture = Picture((), ((220.0, "start"), (940.0, "30 seconds")), 0, "1 job")
    html = environment().get_template("timeline.html").render(picture=picture)
    assert '<text class="tick" x="960" text-anchor="end"' in html
    assert html.count("text-anchor") == 1


def test_times_in_a_sentence_are_times_of_the_page() -> None:
    shown = timed("<b> since 2026-11-30 18:08 UTC; until 2026-12-09 18:08 UTC")
    since = '<time datetime="2026-11-30T18:08:00+00:00">2026-11-30 18:08 UTC</time>'
    until = '<time datetime="2026-12-09T18:08:00+00:00">2026-12-09 18:08 UTC</time>'
    assert shown == f"&lt;b&gt; since {since}; until {until}"
    assert timed("2026-99-99 99:99 UTC is told as it stands") == "2026-99-99 99:99 UTC is told as it stands"
