"""Who is meant by a name in the audit."""

from __future__ import annotations

from sqlalchemy import Connection, insert
from tests.support.books import Books

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import audits
from fedproc.central.db.schema import experiments


def add(connection: Connection, *named: tuple[str, str]) -> None:
    """An experiment of each (owner, and how he is called), one after the other."""
    common = {"tool": "t", "version": "1.0.0", "digest": "", "request": {}, "state": "succeeded", "created": 1.0}
    connection.execute(
        insert(experiments),
        [{"id": f"e-{at:026}", "owner": owner, "owner_name": name, **common} for at, (owner, name) in enumerate(named)],
    )


def test_person_is_called_as_last_and_found_in_capitals_or_not_of_any_alphabet(books: Books) -> None:
    with write_transaction(books.engine) as connection:
        add(connection, ("a", "Jane Roe"), ("b", "Ümit ÖZ"), ("a", "Jane Doe"))
    with read_transaction(books.engine) as connection:
        assert audits.names_of(connection, ["a", "b", "c"]) == {"a": "Jane Doe", "b": "Ümit ÖZ"}
        found = [audits.actors_named(connection, name) for name in ("Ümit ÖZ", "ümit öz", "jane doe", "Jane Roe", "c")]
    assert found == [["b"], ["b"], ["a"], [], []]


def test_nobody_hides_anothers_acts_by_taking_his_subject_for_a_name(books: Books) -> None:
    with write_transaction(books.engine) as connection:
        add(connection, ("mallory", "host:UB"))
        audits.add(connection, "host:UB", "send_result", None, "", 1.0)
    with read_transaction(books.engine) as connection:
        assert audits.actors_named(connection, "host:UB") == ["host:UB", "mallory"]
