"""Parts of pages as their templates say them, without a server and without a browser."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from fedproc.central.api.pages.rendering import environment
from fedproc.contract.api.experiments import ExperimentView
from fedproc.contract.api.files import FileView

EXPERIMENT = "e-" + "0" * 26
SESSION = SimpleNamespace(form_token="f" * 64, operates=False)


def part(template: str, **values: Any) -> str:
    return environment().get_template(template).render(session=SESSION, **values)


def words(html: str) -> str:
    """What a person reads of it."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def experiment(**more: Any) -> ExperimentView:
    of = {"tool": "count", "version": "1.0.0", "digest": "d" * 64, "owner": "rosa", "created": "2026-11-03T09:00:00Z"}
    return ExperimentView.model_validate({"id": EXPERIMENT, "state": "running", **of, **more})


def file(host: str, **more: Any) -> FileView:
    of = {"uri": "https://centre/", "state": "complete", "media_type": "application/json", "owner": "rosa"}
    own = {"id": "f-" + f"{len(host):026}", "path": f"{host}.json", "host": host, "task": "local", "output": "counts"}
    return FileView.model_validate({**of, **own, "created": "2026-11-03T09:00:00Z", **more})


def results(*files: FileView, own: bool = True, **of: Any) -> str:
    shown = {"results": list(files), "pictures": [], "more": "", "own": own, "ended": True}
    return part("experiment_results.html", experiment=experiment(**of), **shown)


def test_each_result_says_whether_it_is_encrypted_and_no_sentence_says_it_of_all() -> None:
    page = results(file("UB"), file("EUCAIM", plain_sha256="0" * 64), encrypt_to="A" * 43 + "=")
    rows = {name: words(row) for name, row in re.findall(r"(?s)<tr id.*?>(\w+)\.json<(.*?)</tr>", page)}
    assert "plain: another task reads it" in rows["UB"]
    assert "encrypted to your key (Crypt4GH)" in rows["EUCAIM"]
    assert "neither the centre nor this page can read the files that are marked so" in words(page)
    assert "can read them" not in words(page)
    assert "encrypted to the researcher's key" in words(
        results(file("EUCAIM", plain_sha256="0" * 64), own=False, encrypt_to="A" * 43 + "=")
    )
    assert "plain" not in words(results(file("UB")))
