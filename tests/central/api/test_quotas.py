"""What one user may have and ask for: the last that is allowed passes, the next is told the limit and the way round."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import delete, insert
from tests.support.central_api import COUNT, TUS, Federation, described, problem, send
from tests.support.issuer import TestIssuer

from fedproc.central.api import audit, rates
from fedproc.central.api.rates import Rates
from fedproc.central.db.engine import write_transaction
from fedproc.central.db.schema import files
from fedproc.common.errors import TooManyRequestsError
from fedproc.contract.ids import new_id

MB = 1_000_000
A_MINUTE = 30
QUOTA = {"open_experiments": 2, "stored_mb": 1, "requests_per_minute": A_MINUTE}
QUOTAS = {"olga": {"requests_per_minute": 10_000}, "vera": {"open_experiments": 3, "stored_mb": 2}}
BIG = b"b" * MB


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory, issuer: TestIssuer) -> Iterator[Federation]:
    """A centre with low quotas. Each test takes a user of its own."""
    folder = tmp_path_factory.mktemp("tight")
    with Federation(f"sqlite:///{folder}/central.db", folder, issuer, quota=QUOTA, quotas=QUOTAS) as running:
        running.enrol_everyone()
        yield running


pytestmark = pytest.mark.server


def start(client: httpx.Client, key: str | None = None) -> httpx.Response:
    return client.post("/experiments", json=COUNT, headers={"Idempotency-Key": key} if key else {})


def test_open_experiments_of_a_user_are_bounded(tight: Federation) -> None:
    with tight.user("pia") as pia, tight.user("quin") as quin:
        made = [start(pia, f"key-{number}") for number in range(2)]
        assert [answer.status_code for answer in made] == [201, 201]
        said = problem(start(pia), 409, "quota.experiments")["detail"]
        assert "2 may be open at once" in said
        assert "cancel one" in said
        assert start(pia, "key-0").json()["id"] == made[0].json()["id"], "the same request again starts nothing"
        assert start(quin).status_code == 201, "others have their own"
        assert pia.post(f"/experiments/{made[0].json()['id']}/cancel").status_code == 202
        assert start(pia).status_code == 201


def test_an_operator_allows_one_user_more(tight: Federation) -> None:
    with tight.user("vera") as vera:
        assert [start(vera).status_code for _ in range(4)] == [201, 201, 201, 409]


def test_stored_bytes_of_a_user_are_bounded_when_a_file_is_announced(tight: Federation) -> None:
    with tight.user("ines") as ines:
        entry, upload = tight.new_file(ines, BIG)
        said = problem(ines.put("/data/file/more.bin", json=described(b"x")), 507, "quota.stored")["detail"]
        assert "1000000 may be kept" in said
        assert "fedproc data delete" in said
        assert send(ines, upload, BIG).status_code == 204
        problem(start(ines), 507, "quota.stored")
        path = entry["path"]
        assert ines.put(f"/data/file/{path}", json=described(BIG)).status_code == 200, "the same again is no more"
        assert ines.delete(f"/uploads/{entry['id']}", headers=TUS).status_code == 204
        tight.new_file(ines, b"x")


def test_stored_bytes_are_looked_at_again_when_all_have_come(tight: Federation) -> None:
    """Two requests that announce at the same moment both find room."""
    with tight.user("nora") as nora:
        _, upload = tight.new_file(nora, BIG)
        other = {
            "id": new_id("f"), "owner": "nora", "path": "other", "state": "complete", "size": 1, "sha256": "0" * 64,
            "media_type": "x/y", "created": 0.0,
        }  # fmt: skip
        with write_transaction(tight.engine) as connection:
            connection.execute(insert(files).values(**other))
        problem(send(nora, upload, BIG), 507, "quota.stored")
        with write_transaction(tight.engine) as connection:
            connection.execute(delete(files).where(files.c.id == other["id"]))
        assert nora.head(upload, headers=TUS).status_code == 200, "they are there, and count once there is room"
        view = nora.get("/data/file/" + upload.rpartition("/")[2]).json()
        assert view["state"] == "complete"


def test_outputs_of_jobs_count_and_wait_until_there_is_room(tight: Federation) -> None:
    with tight.user("olaf") as olaf, tight.host("UB") as host:
        experiment = tight.start(olaf)["id"]
        tight.books.dispatch()
        job = tight.books.job_on(experiment, "UB")
        tight.books.report(job.id, "running")
        entry, upload = tight.new_file(olaf, BIG)
        assert send(olaf, upload, BIG).status_code == 204
        new = {"job": job.id, "output": "counts", "path": "counts.json", **described(b"{}")}
        said = problem(host.post("/uploads", json=new), 507, "quota.stored")
        assert "olaf" in said["detail"], "its host waits, and shows this to the user"
        assert olaf.delete(f"/uploads/{entry['id']}", headers=TUS).status_code == 204
        tight.upload_output(job, "counts", "counts.json", b"{}")


def test_requests_of_a_user_are_bounded_and_what_is_refused_leaves_no_row(
    tight: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tight.app.state.fedproc.rates, "_clock", lambda: 7.0)
    with tight.user("rick") as rick, tight.user("pete") as pete, tight.user("olga", "operator") as olga:
        for _ in range(A_MINUTE):
            assert rick.get("/experiments").status_code == 200
        refused = start(rick)
        said = problem(refused, 429, "rate.user")["detail"]
        assert f"{A_MINUTE} requests a minute" in said
        assert "fedproc follow ID" in said
        assert refused.headers["retry-after"] == "2"
        assert pete.get("/experiments").status_code == 200
        assert olga.get("/audit", params={"actor": "rick"}).json()["items"] == []


def test_hosts_are_not_counted_as_users(tight: Federation) -> None:
    with tight.host("UB") as host:
        for _ in range(A_MINUTE + 1):
            assert host.get("/tools").status_code == 200


def test_rate_fills_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    counted = Rates(lambda _: 60, lambda: now[0])
    for _ in range(60):
        counted.count("rosa")
    with pytest.raises(TooManyRequestsError) as caught:
        counted.count("rosa")
    assert caught.value.detail["headers"] == {"Retry-After": "1"}
    now[0] += 2
    counted.count("rosa")
    counted.count("rosa")
    with pytest.raises(TooManyRequestsError):
        counted.count("rosa")
    now[0] += 3600
    for _ in range(60):
        counted.count("rosa")
    with pytest.raises(TooManyRequestsError):
        counted.count("rosa")
    monkeypatch.setattr(rates, "_REMEMBERED", 2)
    for user in ("a", "b", "c"):
        counted.count(user)
    assert len(counted._buckets) <= 3


# -- who shows no token


def _kept(federation: Federation, action: str) -> int:
    with federation.operator() as olga:
        return len(olga.get("/audit", params={"action": action, "limit": 200}).json()["items"])


def test_strangers_leave_a_bounded_number_of_rows(tight: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "STRANGERS_A_MINUTE", 5)
    request = {"code": "WRONG", "request": "x"}
    with tight.caller(None) as anyone:
        for number in range(40):
            anyone.put(f"/enrolments/H{number}", json=request if number % 2 else {"nonsense": 1})
            anyone.get("/enrolments/UB", headers={"Enrolment-Code": "WRONG"})
            anyone.post("/token", data={"username": f"u{number}", "password": "wrong"})
    kept = sum(_kept(tight, action) for action in ("request_enrolment", "get_enrolment", "get_token"))
    assert 1 <= kept <= 7


# -- how many, however small

EMPTY = described(b"")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, issuer: TestIssuer) -> Iterator[Federation]:
    """A centre where a user may have three files, and one user more."""
    folder = tmp_path_factory.mktemp("few")
    quota, quotas = {"stored_files": 3}, {"vera": {"stored_files": 4}}
    with Federation(f"sqlite:///{folder}/central.db", folder, issuer, quota=quota, quotas=quotas) as running:
        running.enrol_everyone()
        yield running


def put_empty(client: httpx.Client, count: int) -> list[int]:
    return [client.put(f"/data/file/empty-{number}", json=EMPTY).status_code for number in range(count)]


def test_files_without_a_byte_are_bounded_too(few: Federation) -> None:
    with few.user("ines") as ines, few.user("vera") as vera:
        assert put_empty(ines, 4) == [201, 201, 201, 507]
        said = problem(ines.put("/data/file/more", json=EMPTY), 507, "quota.files")["detail"]
        assert "has 3 files" in said
        assert "3 may be kept" in said
        assert "fedproc data delete" in said
        assert "pack many small ones" in said
        problem(start(ines), 507, "quota.files")
        made = ines.put("/data/file/empty-0", json=EMPTY)
        assert made.status_code == 200, "the same again is no more"
        assert ines.delete(f"/uploads/{made.json()['id']}", headers=TUS).status_code == 204
        assert start(ines).status_code == 201
        assert put_empty(vera, 5) == [201, 201, 201, 201, 507], "an operator allows one user more"


def test_what_was_announced_goes_on_at_the_limit_and_is_counted_again_when_it_is_there(few: Federation) -> None:
    with few.user("nora") as nora:
        assert put_empty(nora, 2) == [201, 201]
        entry, upload = few.new_file(nora, b"one")
        assert nora.put(f"/data/file/{entry['path']}", json=described(b"two")).status_code == 200, "it is the same file"
        more = {
            "id": new_id("f"), "owner": "nora", "path": "other", "state": "complete", "size": 0, "sha256": "0" * 64,
            "media_type": "x/y", "created": 0.0,
        }  # fmt: skip
        with write_transaction(few.engine) as connection:
            connection.execute(insert(files).values(**more))
        problem(send(nora, upload, b"two"), 507, "quota.files")
        with write_transaction(few.engine) as connection:
            connection.execute(delete(files).where(files.c.id == more["id"]))
        assert nora.head(upload, headers=TUS).status_code == 200
        assert nora.get(f"/data/file/{entry['id']}").json()["state"] == "complete"


def test_a_job_waits_with_its_outputs_where_there_are_too_many_files(few: Federation) -> None:
    with few.user("olaf") as olaf, few.host("UB") as host:
        few.start(olaf)
        few.books.dispatch()
        job = few.books.job_on(olaf.get("/experiments").json()["items"][0]["id"], "UB")
        few.books.report(job.id, "running")
        assert put_empty(olaf, 3) == [201, 201, 201]
        new = {"job": job.id, "output": "counts", "path": "counts.json", **described(b"{}")}
        assert "olaf has 3 files" in problem(host.post("/uploads", json=new), 507, "quota.files")["detail"]
        made = olaf.put("/data/file/empty-0", json=EMPTY).json()["id"]
        assert olaf.delete(f"/uploads/{made}", headers=TUS).status_code == 204
        few.upload_output(job, "counts", "counts.json", b"{}")
