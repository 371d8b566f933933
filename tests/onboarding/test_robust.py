"""What comes from outside can be anything: reports, certificates, probes that crash, hang or talk too much."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.onboarding.model import formatting, report
from fedproc.onboarding.model.facts import DataApiFacts, Unknown
from fedproc.onboarding.probes import x509
from fedproc.onboarding.probes.parallel import Task, run_all
from fedproc.onboarding.profile.toml_lines import Lines
from fedproc.onboarding.report import page, survey, text

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def good(request: pytest.FixtureRequest) -> dict[str, Any]:
    from fedproc.onboarding import check
    from fedproc.onboarding.model.targets import Targets
    from fedproc.onboarding.profile import profile

    made = check.run(profile.load("d6.1-cpu"), Targets(), ("memory", "cpu", "os", "data-api"))
    return report.to_json(made)


@pytest.mark.slow
@given(data=json_values)
def test_no_report_is_told_as_such(data: Any) -> None:
    with pytest.raises(ValueError, match="not a host report"):
        report.from_json(data)


@pytest.mark.process
@given(data=st.data())
def test_a_damaged_report_is_a_value_error_and_never_more(good: dict[str, Any], data: st.DataObject) -> None:
    broken = {**good, data.draw(st.sampled_from(sorted(set(good) - {"format"}))): data.draw(json_values)}
    try:
        found = report.from_json(broken)
    except ValueError as error:
        assert str(error)
        return
    text.render(found, text.Style())
    page.render(found)
    survey.render_text([("UB", broken)])


@pytest.mark.process
def test_what_a_newer_program_adds_is_ignored(good: dict[str, Any]) -> None:
    newer = {**good, "weather": "fine", "lines": [{**line, "colour": "green"} for line in good["lines"]]}
    assert report.from_json(newer) == report.from_json(good)


@pytest.mark.slow
@given(der=st.binary(max_size=400))
def test_any_bytes_are_a_certificate_or_a_value_error(der: bytes) -> None:
    with pytest.raises(ValueError):
        x509.from_der(der)


@pytest.mark.slow
@given(content=st.text(max_size=300))
def test_any_text_has_lines(content: str) -> None:
    assert Lines(content).find("requirement", 3, "minimum") >= 1


@given(content=st.text())
def test_nothing_that_is_shown_steers_a_terminal(content: str) -> None:
    assert "\x1b" not in formatting.printable(content)
    assert formatting.printable(content).isprintable()


def answer() -> DataApiFacts:
    return DataApiFacts("here", detail="x" * 3000)


def crash() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def fail() -> NoReturn:
    raise RuntimeError("no such luck")


def hang() -> NoReturn:
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
    while True:
        signal.pause()


def leave() -> NoReturn:
    os._exit(3)


@pytest.mark.process
def test_each_probe_ends_in_its_own_way_and_alone() -> None:
    probes = {"answer": answer, "crash": crash, "fail": fail, "leave": leave}
    tasks = [Task(name, probe, DataApiFacts, 10) for name, probe in probes.items()]
    done: list[str] = []
    found = run_all([*tasks, Task("hang", hang, DataApiFacts, 0.3)], done.append)
    assert found["answer"] == answer()
    assert found["crash"] == Unknown("the probe was ended by SIGKILL before it answered")
    assert found["fail"] == Unknown("the probe failed: RuntimeError: no such luck")
    assert found["leave"] == Unknown("the probe stopped with exit code 3 before it answered")
    assert found["hang"] == Unknown("the probe did not answer within 0.3 s")
    assert sorted(done) == ["answer", "crash", "fail", "hang", "leave"]


@pytest.mark.process
def test_a_probe_that_is_given_up_is_ended() -> None:
    seen, kept = os.pipe()
    run_all([Task("hang", hang, DataApiFacts, 0.1)])
    os.close(kept)
    assert os.read(seen, 1) == b"", "nobody holds the other end any more"
    os.close(seen)


@pytest.mark.process
def test_what_a_probe_started_ends_with_it() -> None:
    seen, kept = os.pipe()

    def start_another() -> DataApiFacts:
        subprocess.Popen(["sleep", "600"], pass_fds=[kept])
        return answer()

    found = run_all([Task("parent", start_another, DataApiFacts, 10)])
    os.close(kept)
    assert found["parent"] == answer()
    assert os.read(seen, 1) == b"", "nobody holds the other end any more"
    os.close(seen)
