"""What one site tells of a model's predictions: never one of them, nor whose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imaging.faults import Fault
from metrics import Predicted, auc_of, calibration_of, class_of, share_of
from models import Model
from records import Records
from request import Request


def metrics_of(model: Model, records: Records, request: Request) -> dict[str, Any]:
    """All of it. Raises :class:`Fault` where fewer than ``min_cell`` persons would be spoken of."""
    persons = len(set(records.persons))
    if persons < request.least:
        raise Fault(f"fewer than {request.least} persons (min_cell) have what the model predicts on")
    probabilities = model.predict(records.inputs)
    return {
        "status": "ok",
        "model": {"sha256": request.sha256, "format": model.format},
        "kind": request.kind,
        "persons": persons,
        "rows_left_out": class_of(records.left_out, request.least),
        **_against_truth(records, probabilities, request),
    }


def _against_truth(records: Records, probabilities: Any, request: Request) -> dict[str, Any]:
    over = probabilities >= request.threshold
    if records.outcomes is None:
        told = share_of("predicted positive", int(over.sum()), len(over), request.least)
        return {"shares": [told], "discrimination": [], "discrimination_in_pairs": [], "calibration": []}
    outcomes = records.outcomes
    positives, negatives = int(outcomes.sum()), int((~outcomes).sum())
    if min(positives, negatives) < request.least:
        raise Fault(f"fewer than {request.least} persons (min_cell) have one of the two outcomes")
    predicted = Predicted(probabilities, outcomes, records.persons)
    found = int((over & outcomes).sum()), int((~over & ~outcomes).sum())
    shares = [
        share_of("sensitivity", found[0], positives, request.least),
        share_of("specificity", found[1], negatives, request.least),
    ]
    persons, auc = len(set(records.persons)), auc_of(predicted)
    is_paired = persons < len(outcomes)
    told = {"persons": persons, "positives": positives, "negatives": negatives, "auc": auc}
    is_told = auc is not None
    return {
        "shares": shares if is_paired else [*shares, *_accuracy(sum(found), len(outcomes), shares, request.least)],
        "discrimination": [told] if is_told and not is_paired else [],
        "discrimination_in_pairs": [{"persons": persons, "auc": auc}] if is_told and is_paired else [],
        "calibration": calibration_of(predicted, request.edges, request.least),
    }


def _accuracy(right: int, persons: int, shares: Sequence[dict[str, Any]], least: int) -> list[dict[str, Any]]:
    """It is the sum of the two others: with one of them known in steps, it would tell more of the other."""
    known = {share["extent"] == "some" for share in shares}
    return [share_of("accuracy", right, persons, least)] if len(known) == 1 else []
