"""``secure_aggregation`` of the Flower tools: Flower's SecAgg+ averages, and shows no host's own numbers.

Sites and server run in one process of the tool's environment, with Flower's mod, workflow and messages, but for the
connection; whatever the server is sent is kept.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.rounds_runs import RoundsRun
from tests.support.tool_programs import ToolProgram

from fedproc.demo.data import SHARES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The environment of the tool is built from its lock file once, which can take minutes."""

BOUNDS = {"mean_radius": [5, 30], "mean_texture": [5, 45]}
ASKED = {
    "features": list(BOUNDS),
    "bounds": BOUNDS,
    "rounds": 3,
    "local_steps": 5,
    "learning_rate": 1.0,
    "secure_aggregation": True,
}

TOGETHER = """
import json, sys
from pathlib import Path
import numpy as np
from averaging.faults import Fault
from averaging.learning import Limits
from data import read_site
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from learner import LEARNING
from main import _learner
from request import read_request
from secure_averaging import agreed, server
from secure_averaging.client import SecureSite

request = read_request(Path(sys.argv[1]))
hosts = json.loads(sys.argv[2])
learners = {host: _learner(read_site(Path(folder), request), request) for host, folder in hosts.items()}
sites = {host: SecureSite(host, learner, request.rounds, LEARNING.averaged) for host, learner in learners.items()}
spoil, refused, received = lambda host, config: None, [], []

class Near(ClientProxy):
    def fit(self, ins, timeout, group_id):
        config = dict(ins.config)
        spoil(self.cid, config)
        try:
            arrays, rows, told = sites[self.cid].fit(parameters_to_ndarrays(ins.parameters), config)
        except Fault as fault:
            refused.append(f"{self.cid}: {fault}")
            raise
        return FitRes(Status(Code.OK, ""), ndarrays_to_parameters(arrays), rows, told)
    def get_properties(self, *_): ...
    get_parameters = evaluate = reconnect = get_properties

def received_by(self, node, content):
    received.append((self._clients[node].cid, self._what, content))
server.Connections.received = received_by

def train():
    clients = SimpleClientManager()
    for host in hosts:
        clients.register(Near(host))
    limits = Limits(request.rounds, 5, 20, len(hosts))
    strategy = server.SecureAveraging(list(hosts), limits, LEARNING, lambda done: None)
    made = server.SecureServer(client_manager=clients, strategy=strategy)
    made.fit(request.rounds, 20)
    return strategy
"""

EQUAL = """
strategy = train()
for name in agreed.DRAWING:
    assert sys.modules[name].pseudo_rand_gen is agreed.masks
first, *others = (learner.moments() for learner in learners.values())
model = LEARNING.start(strategy.features, sum(others, first))
rows = np.array([learner.rows for learner in learners.values()])
plain = []
for number in range(1, request.rounds + 1):
    trained = [learner.train(model, number) for learner in learners.values()]
    plain += [[number, host, *arrays[:LEARNING.averaged]] for host, arrays in zip(learners, trained)]
    model = [*(np.average(parts, axis=0, weights=rows) for parts in list(zip(*trained))[:LEARNING.averaged]),
             *model[LEARNING.averaged:]]
    told = [learner.measure(model) for learner in learners.values()]
    wanted = {"loss": np.average([one.loss for one in told], weights=rows)}
    for name in ("test_loss", "accuracy"):
        wanted[name] = np.average([getattr(one, name) for one in told], weights=[one.test_rows for one in told])
    found = strategy.rounds[number - 1]
    assert all(abs(found.metrics[name] - value) < 2e-4 for name, value in wanted.items()), (found.metrics, wanted)
    assert found.test_rows == sum(one.test_rows for one in told)
for found, expected in zip(strategy.learned(), model, strict=True):
    np.testing.assert_allclose(found, expected, atol=1e-4)

from flwr.common import bytes_to_ndarray
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key
assert len(received) == len(hosts) * 4 * 2 * request.rounds
masked = []
for host, what, content in received:
    record = agreed.unpacked(content)
    assert not any(len(arrays) for arrays in record.array_records.values()), "an array that is not masked"
    configs = record.config_records[RECORD_KEY_CONFIGS]
    if Key.MASKED_PARAMETERS in configs:
        masked.append((host, what, [bytes_to_ndarray(part) for part in configs[Key.MASKED_PARAMETERS]]))
    else:
        assert all(isinstance(one, (bytes, int)) for value in configs.values()
                   for one in (value if isinstance(value, list) else [value]))
everything = b"".join(content for _, _, content in received)
most = max(rows)
trainings = [entry for entry in masked if entry[1] == "training"]
assert len(trainings) == len(plain) == len(hosts) * request.rounds
for number, host, *arrays in plain:
    own = iter([entry for entry in trainings if entry[0] == host])
    [*_, vector] = [next(own)[2] for _ in range(number)]
    share = learners[host].rows / most
    words = quantize([array * share for array in arrays], agreed.RANGE, agreed.LEVELS)
    for hidden, word in zip(vector[1:], words, strict=True):
        assert (np.abs(hidden - word) > 2 ** 8).all(), "a masked number that is the number"
    for value in np.concatenate([array.ravel() for array in arrays]):
        for kind in (np.float64, np.float32):
            assert kind(value).tobytes() not in everything, "a host's own number"
vectors = np.concatenate([np.concatenate([part.ravel() for part in parts]) for _, _, parts in masked])
assert len(set(vectors.tolist())) == len(vectors) and vectors.max() > 2 ** 31 and vectors.min() < 2 ** 31
print("equal")
"""

HOSTILE = """
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
what = sys.argv[3]
def spoil(host, config):
    if host != "UB" or "record" not in config:
        return
    record = agreed.unpacked(config["record"])
    configs = record.config_records[RECORD_KEY_CONFIGS]
    stage = configs[Key.STAGE]
    if what == "plain":
        del config["record"], config["pass"], config["node"]
    elif what == "two" and stage == Stage.SETUP:
        for key in (Key.SAMPLE_NUMBER, Key.SHARE_NUMBER, Key.THRESHOLD):
            configs[key] = 2
    elif what == "threshold" and stage == Stage.SETUP:
        configs[Key.THRESHOLD] = 2
    elif what == "without" and stage == Stage.COLLECT_MASKED_VECTORS:
        for key in (Key.SOURCE_LIST, Key.CIPHERTEXT_LIST):
            configs[key] = configs[key][:1]
    elif what == "shares" and stage == Stage.UNMASK:
        configs[Key.DEAD_NODE_ID_LIST] = list(configs[Key.ACTIVE_NODE_ID_LIST])
    elif what == "order" and stage == Stage.SETUP:
        configs[Key.STAGE] = Stage.UNMASK
        configs[Key.ACTIVE_NODE_ID_LIST] = configs[Key.DEAD_NODE_ID_LIST] = [1, 2, 3]
    if "record" in config:
        config["record"] = b"rows" if what == "no record" else agreed.packed(record)
try:
    train()
except Fault as fault:
    print(json.dumps([refused, str(fault)]))
"""


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    path = tmp_path / "parameters.json"
    path.write_text(json.dumps(ASKED))
    return path


def _together(tool: ToolProgram, data: Path, code: str, *arguments: Any) -> str:
    folders = {host: str(data / host / "wisconsin") for host in SHARES}
    first, *others = arguments
    ended = subprocess.run(
        [*tool.python, "-c", TOGETHER + code, first, json.dumps(folders), *others],
        env={**tool.variables(), "PYTHONPATH": str(tool.folder / "source")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip().splitlines()[-1]


def test_average_is_the_plain_one_and_the_server_was_sent_no_plain_contribution(
    flower: ToolProgram, data: Path, parameters: Path
) -> None:
    assert _together(flower, data, EQUAL, parameters) == "equal"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("plain", "a contribution that is not masked: nothing is told"),
        ("two", "a sum of 2 hosts, not of 3 to 255"),
        ("threshold", "fewer shares than there are hosts"),
        ("without", "a sum without some of the hosts"),
        ("shares", "shares of keys beside those of the sum"),
        ("order", "shares of keys beside those of the sum"),
        ("no record", "does not keep to the secure aggregation"),
    ],
)
def test_site_refuses_a_server_that_would_take_its_masks_away(
    flower: ToolProgram, data: Path, parameters: Path, what: str, message: str
) -> None:
    refused, fault = json.loads(_together(flower, data, HOSTILE, parameters, what))
    assert len(refused) == 1
    assert refused[0].startswith("UB: ")
    assert message in refused[0]
    assert "no good reply from UB" in fault


@pytest.fixture
def run(flower: ToolProgram, data: Path, tmp_path: Path) -> Iterator[RoundsRun]:
    made = RoundsRun(flower, {host: data / host / "wisconsin" for host in SHARES}, tmp_path / "run")
    yield made
    made.close()


def test_three_hosts_train_with_it_over_their_connections(run: RoundsRun) -> None:
    result = run.run(**ASKED | {"rounds": 2, "local_steps": 20, "learning_rate": 2})
    losses = [entry["loss"] for entry in result["rounds"]]
    assert losses[1] < losses[0] < 0.7
    assert result["rounds"][-1]["accuracy"] > 0.8
    assert all(entry["replied"] == sorted(SHARES) for entry in result["rounds"])
    model = np.load(run.output / "model.npz", allow_pickle=False)
    assert model["mean"].tolist() == [17.5, 25.0]
