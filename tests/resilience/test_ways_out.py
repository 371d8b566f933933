"""A tool that is admitted tries every way out with canaries; then all that the centre has is searched for them.

The site's policy lets honest results leave by themselves, so that nothing but the rules and the channels' own limits
stands in the way. The ways and what closes each stand in docs/security.md, "What a hostile tool tries".
"""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w
from tests.support.running import ROOT, Running

from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.states import TERMINAL
from fedproc.demo.polling import wait_until

TOOL = Path(__file__).parent / "tools" / "leaker"
HOST = "BSC"
WAYS = re.findall(r'^    "([^"]+)": ', (TOOL / "main.py").read_text(), re.MULTILINE)
DATASET = f"{HOST}:breast-cohort"


def canary(way: str) -> str:
    """As the tool computes it."""
    return hashlib.sha256(f"a patient, by {way}".encode()).hexdigest()[:24]


def spellings(text: str) -> set[bytes]:
    """What whoever reads it could tell it by."""
    raw, number = text.encode(), int(text, 16)
    return {
        raw, raw.upper(), raw[::-1], text.encode("utf-16-le"), bytes.fromhex(text), raw.hex().encode(),
        base64.b64encode(raw)[:-4], base64.b64encode(bytes.fromhex(text))[:-4], str(number).encode(),
        "".join(f"\\u{ord(each):04x}" for each in text).encode(), repr(float(number)).encode(),
    }  # fmt: skip


def centre_has(running: Running) -> Iterator[Path]:
    """Store, database, the broker's files, and the logs of all programs but those of the host itself."""
    own = {f"orchestrator-{HOST}", f"runner-{HOST}"}
    for place in ("central", "broker", "log", "issuer"):
        for path in (running.folder / place).rglob("*"):
            if path.is_file() and not any(path.name.startswith(name) for name in own):
                yield path


@pytest.fixture(scope="module")
def policy(federation_for_all: Running) -> Iterator[None]:
    """Results of this very version leave by themselves, and nothing is waived."""
    file = federation_for_all.folder / f"policy-{HOST}.toml"
    before = file.read_text()
    digest = federation_for_all.researcher.tool("leaker").digest
    line = {"id": "leaker", "digest": digest, "release": {"aggregate": "automatic"}}
    own = {"release": {"report": "automatic"}, "metrics": True, "tools": [line], "review": {"sample": 0}}
    signal = federation_for_all.federation.supervisor.signal
    file.write_text(tomli_w.dumps(own))
    signal(f"orchestrator-{HOST}", "HUP")
    wait_until(lambda: _admits(federation_for_all), 60, f"{HOST} has not taken the policy")
    yield
    file.write_text(before)
    signal(f"orchestrator-{HOST}", "HUP")
    wait_until(lambda: not _admits(federation_for_all), 60, f"{HOST} has not taken its policy again")
    assert tomllib.loads(before)["tools"]


def _admits(running: Running) -> bool:
    return [tool.id for tool in running.researcher.host(HOST).tools] == ["leaker"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("policy")
def test_no_canary_reaches_the_centre(running: Running, way: str) -> None:
    experiment = running.start("leaker", datasets=[DATASET], way=way)

    def over() -> bool:
        state = running.jobs(experiment)[f"work@{HOST}"].state
        return state in TERMINAL or state == "awaiting_release"

    wait_until(over, 90, f"the job by {way} neither ends nor waits")
    assert "running" in running.jobs(experiment)[f"work@{HOST}"].times, "the tool had its try"
    if running.jobs(experiment)[f"work@{HOST}"].state not in TERMINAL:
        running.researcher.cancel(experiment.id)
        running.end(experiment)
    known = spellings(canary(way))
    found = [str(path) for path in centre_has(running) if any(each in path.read_bytes() for each in known)]
    assert found == []


@pytest.mark.usefixtures("policy")
def test_honest_count_leaves_by_itself_through_the_same_policy(running: Running) -> None:
    experiment = running.start("leaker", datasets=[DATASET], way="nothing but a count")
    running.end(experiment)
    assert running.jobs(experiment)[f"work@{HOST}"].state == "succeeded"
    assert {file.output for file in running.researcher.results(experiment.id)} == {"counts", "state"}


@pytest.mark.usefixtures("policy")
def test_search_finds_what_does_reach_the_centre(running: Running) -> None:
    """The search itself: a label stands at the centre."""
    word = canary("a label")
    assert not is_found(running, word)
    request = {"tool": "leaker", "datasets": [DATASET], "parameters": {"way": "notes"}, "label": word}
    experiment = running.researcher.run(ExperimentRequest.model_validate(request))
    assert is_found(running, word)
    running.researcher.cancel(experiment.id)
    running.end(experiment)


def is_found(running: Running, word: str) -> bool:
    return any(word.encode() in path.read_bytes() for path in centre_has(running))


def test_each_way_has_its_line_in_the_documentation() -> None:
    page = (ROOT / "docs/security.md").read_text()
    table = page.partition("## What a hostile tool tries")[2].partition("\n## ")[0]
    assert len(WAYS) > 30
    assert [way for way in WAYS if way not in table] == []
