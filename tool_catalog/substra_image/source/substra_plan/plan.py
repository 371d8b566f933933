"""The compute plan, as a user of SubstraFL writes it, executed over the experiment's hosts."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import cloudpickle
from regression.faults import Broken
from substra import BackendType, Client
from substra.sdk.models import ComputePlanStatus
from substra.sdk.schemas import DataSampleSpec, DatasetSpec, Permissions
from substrafl.dependency import Dependency
from substrafl.evaluation_strategy import EvaluationStrategy
from substrafl.experiment import execute_experiment
from substrafl.nodes import AggregationNode, TestDataNode, TrainDataNode
from substrafl.remote.register import register
from substrafl.strategies import FedAvg

register.MAXIMAL_PYTHON_VERSION = 13
"""substrafl 1.0.0 stops at 3.12 because of the image that its Dockerfile would make; none is made here"""


def execute(strategy: FedAvg, hosts: Collection[str], number: int, opener: Path, code: Collection[ModuleType]) -> None:
    """Make and execute a plan of ``number`` rounds, with an evaluation after each if the strategy has metrics.

    ``code``: modules whose functions go into the plan by value. Raises Broken if Substra does not say that it is done.
    """
    logging.getLogger("substrafl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="`transient=True` is ignored")
    for module in code:
        cloudpickle.register_pickle_by_value(module)
    with _folder_of_its_own() as folder:
        client, *others = [Client(backend_type=BackendType.LOCAL_SUBPROCESS) for _ in (None, *hosts)]
        aggregator = client.organization_info().organization_id
        named = zip(others, sorted(hosts), strict=True)
        nodes = [_node(one, folder / host, host, aggregator, opener) for one, host in named]
        plan = execute_experiment(
            client=client,
            strategy=strategy,
            train_data_nodes=nodes,
            aggregation_node=AggregationNode(aggregator),
            evaluation_strategy=_evaluation(nodes, number) if strategy.metric_functions else None,
            num_rounds=number,
            experiment_folder=folder / "summaries",
            dependencies=Dependency(),
        )
        status = client.get_compute_plan(plan.key).status
    if status != ComputePlanStatus.done:
        raise Broken(f"Substra says that the compute plan is {status}, not done")


@contextmanager
def _folder_of_its_own() -> Iterator[Path]:
    """The SDK works in the present folder."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def _evaluation(nodes: list[TrainDataNode], number: int) -> EvaluationStrategy:
    tested = [TestDataNode(node.organization_id, node.data_manager_key, node.data_sample_keys) for node in nodes]
    return EvaluationStrategy(tested, eval_rounds=list(range(1, number + 1)))


def _node(client: Client, here: Path, host: str, aggregator: str, opener: Path) -> TrainDataNode:
    """A host as an organization of its own, with its data, of which there is nothing here but a name."""
    allowed = Permissions(public=False, authorized_ids=[aggregator])
    here.mkdir(parents=True)
    (here / "description.txt").write_text("The data stays at its host.\n")
    dataset = client.add_dataset(
        DatasetSpec(
            name=host,
            data_opener=opener,
            description=here / "description.txt",
            permissions=allowed,
            logs_permission=allowed,
        )
    )
    sample = client.add_data_sample(DataSampleSpec(data_manager_keys=[dataset], path=here))
    return TrainDataNode(client.organization_info().organization_id, dataset, [sample])
