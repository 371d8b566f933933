"""The published Data API is the one that the code speaks."""

from __future__ import annotations

import json
from pathlib import Path

from fedproc.contract import data_api

PUBLISHED = Path(__file__).parents[2] / "docs" / "data-api.json"


def test_published_document_is_current() -> None:
    assert json.loads(PUBLISHED.read_text()) == data_api.openapi(), "the models changed: run make docs"


def test_every_reference_is_there() -> None:
    document = data_api.openapi()
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text
    assert "$defs" not in text
