"""The published wire contract is the one that the code speaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedproc.contract.wire import asyncapi
from fedproc.contract.wire.messages import TYPES

pytestmark = pytest.mark.slow


PUBLISHED = Path(__file__).parents[3] / "docs" / "asyncapi.json"


def test_the_published_document_is_current():
    assert PUBLISHED.read_text() == asyncapi.text(), (
        "the models changed: run python -m fedproc.contract.wire.asyncapi docs/asyncapi.json"
    )


def test_every_message_type_has_a_channel():
    shown = {name for channel in asyncapi.document()["channels"].values() for name in channel["messages"]}
    assert shown == set(TYPES)
