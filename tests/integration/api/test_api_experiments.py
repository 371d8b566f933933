"""Starting, reading and stopping experiments over HTTP."""

from __future__ import annotations

from tests.integration.api.federation import Federation

COUNT = {"tool": "count", "datasets": ["UB:cohort", "BSC:cohort"], "parameters": {"column": "age"}}


def test_an_experiment_is_placed_and_read_back(federation: Federation) -> None:
    with federation.user() as rosa:
        made = rosa.post("/experiments", json=COUNT)
        assert made.status_code == 201, made.text
        view = made.json()
        assert made.headers["location"] == f"http://centre.test/experiments/{view['id']}"
        assert [(job["task"], job["host"]) for job in view["jobs"]] == [
            ("local", "UB"),
            ("local", "BSC"),
            ("total", "EUCAIM"),
        ]
        print(view)
        assert rosa.get(f"/experiments/{view['id']}").json() == view
        job = view["jobs"][0]
        assert rosa.get(f"/tasks/{job['id']}").json() == job
