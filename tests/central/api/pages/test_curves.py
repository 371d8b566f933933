"""Curves that stand: places of points, one line for each host, and nothing that was not declared or is no number."""

from __future__ import annotations

from fedproc.central.api.pages.curves import BOTTOM, HEIGHT, LEFT, WIDTH, Point, charts

LEARN = {"train": [{"name": "round"}, {"name": "loss", "unit": "nats"}, {"name": "seconds"}]}


def rounds(host: str, *losses: float) -> list[Point]:
    return [Point("train", host, 100.0 + n, {"round": n, "loss": loss}) for n, loss in enumerate(losses, 1)]


def test_measure_is_drawn_by_round_with_a_line_for_each_host() -> None:
    [chart] = charts([*rounds("UB", 1.0, 0.5, 0.0), *rounds("BSC", 0.5)], LEARN)
    assert (chart.name, chart.unit, chart.x) == ("loss", "nats", "round")
    assert [line.label for line in chart.lines] == ["UB", "BSC"]
    assert chart.lines[0].points == ((1.0, 1.0), (2.0, 0.5), (3.0, 0.0))
    first, _, last = chart.lines[0].path.split()
    assert first == f"{LEFT:.1f},8.0"
    assert last == f"{WIDTH - 8:.1f},{HEIGHT - BOTTOM:.1f}"
    assert chart.xs[0][1] == "1"
    assert chart.ys[-1][1] == "1"


def test_task_without_rounds_is_drawn_by_seconds_since_the_first_point() -> None:
    [chart] = charts(
        [Point("scan", "UB", 50, {"images": 1}), Point("scan", "UB", 60, {"images": 9})], {"scan": [{"name": "images"}]}
    )
    assert chart.x == "seconds"
    assert chart.lines[0].points == ((0.0, 1.0), (10.0, 9.0))


def test_lines_say_their_task_where_there_are_several() -> None:
    declared = {**LEARN, "serve": [{"name": "loss"}]}
    [chart] = charts([*rounds("UB", 1.0, 2.0), Point("serve", "EUCAIM", 110, {"loss": 1.5})], declared)
    assert [line.label for line in chart.lines] == ["UB train", "EUCAIM serve"]


def test_what_is_undeclared_or_no_number_is_not_drawn() -> None:
    odd = [
        {"round": 1, "loss": "low"},
        {"round": 1, "loss": True},
        {"round": 1, "other": 4},
        {"loss": 1.0},
        {"round": None, "loss": 1},
    ]
    assert charts([Point("train", "UB", 100, values) for values in odd], LEARN) == []
    assert charts([Point("gone", "UB", 100, {"round": 1, "loss": 1})], LEARN) == []


def words(ticks: tuple[tuple[float, str], ...]) -> list[str]:
    return [text for _, text in ticks]


def test_ticks_are_round_numbers_and_no_half_of_a_round() -> None:
    [chart] = charts(rounds("UB", 0.8726, 0.14, 0.0503, 0.0063, 0.00196, 0.001959), LEARN)
    assert words(chart.xs) == ["1", "2", "3", "4", "5", "6"]
    assert words(chart.ys) == ["0.2", "0.4", "0.6", "0.8"]
    [chart] = charts(rounds("UB", 0.7143, 0.9048, 0.7619), LEARN)
    assert words(chart.xs) == ["1", "2", "3"]
    assert words(chart.ys) == ["0.75", "0.8", "0.85", "0.9"]
    [chart] = charts(rounds("UB", 12_000, 95_000), LEARN)
    assert words(chart.xs) == ["1", "2"]
    assert words(chart.ys) == ["20000", "40000", "60000", "80000"]


def test_one_value_lies_in_the_middle_and_has_one_tick() -> None:
    [chart] = charts(rounds("UB", 0.25), LEARN)
    assert len(chart.xs) == len(chart.ys) == 1
    assert chart.lines[0].path == f"{(LEFT + WIDTH - 8) / 2:.1f},{(HEIGHT - BOTTOM + 8) / 2:.1f}"


def test_chart_says_that_rounds_are_left_out_and_how_many() -> None:
    [whole] = charts(rounds("UB", *[1.0] * 60), LEARN)
    assert whole.note == ""
    thin = [*range(1, 61), *range(62, 300, 4), 300]
    [chart] = charts([Point("train", "UB", 100.0 + n, {"round": n, "loss": 1 / n}) for n in thin], LEARN)
    assert chart.note.startswith("121 of 300 rounds are shown, about one in 2: ")
    assert chart.lines[0].points[-1][0] == 300
