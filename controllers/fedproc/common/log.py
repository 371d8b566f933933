"""Logs: one JSON object a line on standard error, whose ``message`` is an event's name (``job.ended``).

What is said of the event stands in fields beside it; ids are bound once, by :meth:`bind` of a logger.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

_NOISY = ("alembic", "asyncio", "httpcore", "httpx", "multipart", "pika", "python_multipart")
"""Libraries that say more than an operator wants to read; their warnings are shown."""

Logger = structlog.stdlib.BoundLogger

_FIELDS: tuple[Processor, ...] = (
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.format_exc_info,
)

structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_FIELDS,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)


def get_logger(name: str) -> Logger:
    """The logger of a module: ``log.warning("broker.disconnected", reason=…)``; it goes through :mod:`logging`."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger


def log_json(level: str, **always: str) -> None:
    """Send all logging, that of libraries too, to standard error as JSON lines; ``always`` goes into each line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(always))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


def _formatter(always: dict[str, str]) -> logging.Formatter:
    def add_always(_logger: Any, _method: str, fields: EventDict) -> EventDict:
        fields.pop("color_message", None)  # uvicorn's message once more, for a terminal
        return {**always, **fields}

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *_FIELDS],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.EventRenamer("message"),
            add_always,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ],
    )
