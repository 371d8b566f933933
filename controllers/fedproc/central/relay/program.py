"""The relay as a program."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from prometheus_client import REGISTRY, start_http_server

from fedproc.central import settings
from fedproc.central.db.engine import connect
from fedproc.central.db.migrate import ready
from fedproc.central.notify import notifier_for
from fedproc.central.relay.metrics import MetricsCollector
from fedproc.central.relay.service import Relay
from fedproc.central.settings import CentralSettings
from fedproc.common.garbage import keep_what_is_loaded
from fedproc.common.keys import signer_for
from fedproc.common.log import get_logger, log_json

log = get_logger(__name__)


def run(path: Path) -> None:
    """Run until SIGTERM. Raises :class:`InvalidInputError` before it starts, if the settings are not right."""
    loaded = settings.load(path)
    log_json(loaded.log_level, program="relay")
    asyncio.run(_run(loaded))


async def _run(loaded: CentralSettings) -> None:
    signer = signer_for(loaded.dispatch_key, "dispatch_key")
    engine = connect(loaded.database)
    ready(engine)
    relay = Relay(loaded, engine, notifier_for(engine, loaded.runtime), signer)
    if loaded.metrics_port is not None:
        REGISTRY.register(MetricsCollector(engine, lambda: relay.state))
        start_http_server(loaded.metrics_port, addr="127.0.0.1")
    task = asyncio.create_task(relay.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    keep_what_is_loaded()
    log.info("relay.started")
    try:
        await task
    except asyncio.CancelledError:
        log.info("relay.ended")
    finally:
        engine.dispose()
