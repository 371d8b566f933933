"""Ten thousand output files of one job: announced, named by its last snapshot, listed in pages, and no one more."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import insert
from tests.support.central_api import Federation, described, problem

from fedproc.central.db import schema
from fedproc.central.db.engine import write_transaction
from fedproc.client.api import Client
from fedproc.contract.api.base import Token
from fedproc.contract.ids import new_id

pytestmark = pytest.mark.server

MANY = 10_000
EMPTY = hashlib.sha256(b"").hexdigest()


def test_ten_thousand_outputs_of_one_job_from_upload_to_results(lone: Federation) -> None:
    with lone.user("rosa") as rosa, lone.host("UB") as host:
        experiment = lone.start(rosa)["id"]
        lone.books.dispatch()
        job = lone.books.job_on(experiment, "UB")
        lone.books.report(job.id, "running")
        rows = [
            {
                "id": new_id("f"), "owner": "rosa", "media_type": "text/plain", "size": 0, "sha256": EMPTY,
                "job": job.id, "state": "complete", "created": 0.0, "output": "counts", "path": f"many/{number:05}",
                "task": job.task, "experiment": experiment, "host": "UB", "disclosure": "aggregate",
            }
            for number in range(MANY - 1)
        ]  # fmt: skip
        with write_transaction(lone.engine) as connection:
            connection.execute(insert(schema.files), rows)
        last = lone.upload_output(job, "counts", "counts.json", b"")
        new = {"job": job.id, "output": "counts", "path": "counts.json", **described(b"x"), "media_type": "text/x"}
        problem(host.post("/uploads", json=new), 409)
        with write_transaction(lone.engine) as connection:
            connection.execute(schema.files.update().where(schema.files.c.id == last["id"]).values(path="many/last"))
        said = problem(host.post("/uploads", json=new), 413, "too_large")["detail"]
        assert f"has {MANY} files; pack them into fewer" in said
        named = [
            {"output": "counts", "path": row["path"], "file": row["id"], "sha256": EMPTY, "size": 0}
            for row in [*rows, {"path": "many/last", "id": last["id"]}]
        ]
        lone.books.report(job.id, "succeeded", outputs=tuple(named))
        assert lone.books.job(job.id).state == "succeeded"
        whole = rosa.get(f"/experiments/{experiment}/results").json()
        page = rosa.get(f"/experiments/{experiment}/results?limit=4000")
        assert (len(whole), len(page.json())) == (MANY, 4000)
        rest = rosa.get(lone.local(page.links["next"]["url"])).json()
        assert page.json() + rest == whole[:8000]
        token = Token(access_token=lone.issuer.token("rosa", "researcher"), expires_in=600)
        client = Client(lone.url, token=token)
        assert [entry.id for entry in client.results(experiment)] == [entry["id"] for entry in whole]
        client.close()
