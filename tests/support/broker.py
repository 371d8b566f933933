"""A RabbitMQ node for tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import DYING_WITH_US

from fedproc.demo.broker import BrokerPlan, wait_for, write_configuration
from fedproc.demo.keys import Keyring
from fedproc.demo.polling import free_ports


@contextmanager
def running_broker(folder: Path, keys: Keyring) -> Iterator[BrokerPlan]:
    """In ``folder``, for as long as the context lasts; it takes tokens that the key ``issuer`` signed."""
    plan = BrokerPlan(folder, *free_ports(3), ca_file=keys.ca_file)
    write_configuration(plan, keys.server("broker"), keys.key("issuer", rsa_bits=2048).public)
    environment = plan.environment()
    log = (folder / "output").open("wb")
    epmd = subprocess.Popen([*DYING_WITH_US, *plan.epmd_command()], env=environment, stdout=log, stderr=log)
    node = subprocess.Popen(
        [*DYING_WITH_US, *plan.node_command()], env=environment, stdout=log, stderr=log, start_new_session=True
    )
    try:
        wait_for(plan)
        yield plan
    finally:
        os.killpg(node.pid, 15)
        node.wait(90)
        epmd.terminate()
        epmd.wait(60)
        log.close()
