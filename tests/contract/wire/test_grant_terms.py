"""Whose word an order's project, permit and purpose are: optional, on both sides of a release."""

from __future__ import annotations

from typing import Any

from fedproc.contract.api.experiments import ExperimentView
from fedproc.contract.wire.asyncapi import document
from fedproc.contract.wire.messages import JobOrder

TIME = "2026-11-30T12:00:00Z"
ORDER: dict[str, Any] = {
    "job": "j-" + "0" * 26, "experiment": "e-" + "0" * 26, "task": "local", "user": {"sub": "rosa"}, "project": "P",
    "tool": {"id": "km", "version": "1", "digest": "sha256:" + "0" * 64},
    "deadlines": dict.fromkeys(("start_by", "end_by", "release_by"), TIME),
}  # fmt: skip


def test_order_of_a_centre_of_before_names_no_provider() -> None:
    assert JobOrder.model_validate(ORDER).told_by == {}


def test_order_names_providers_also_of_terms_that_are_not_known_yet() -> None:
    told_by = {"project": "eucaim", "duration": "eucaim"}
    assert JobOrder.model_validate({**ORDER, "told_by": told_by}).told_by == told_by


def test_neither_order_nor_view_needs_it() -> None:
    schema = document()["components"]["schemas"]["JobOrder"]
    assert "told_by" in schema["properties"]
    assert "told_by" not in schema["required"]
    assert not ExperimentView.model_fields["told_by"].is_required()
