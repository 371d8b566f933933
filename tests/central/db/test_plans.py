"""What each submission counts takes as long with 100,000 experiments as with none: by an index, of the open ones."""

from __future__ import annotations

from sqlalchemy import event, text
from tests.support.books import Books

from fedproc.central.db.engine import is_sqlite, read_transaction
from fedproc.central.db.repositories import experiments


def test_open_experiments_of_a_user_are_counted_by_their_index(books: Books) -> None:
    asked: list[tuple[str, object]] = []
    with read_transaction(books.engine) as connection:
        event.listen(connection, "before_cursor_execute", lambda *seen: asked.append(seen[2:4]))
        if not is_sqlite(books.engine):
            connection.execute(text("SET enable_seqscan = off"))  # of a table without rows it would read all
        experiments.count_open(connection, "rosa")
        statement, values = asked[-1]
        explain = "EXPLAIN QUERY PLAN" if is_sqlite(books.engine) else "EXPLAIN"
        plan = str(connection.exec_driver_sql(f"{explain} {statement}", values).all())  # type: ignore[arg-type]
    assert "ix_experiments_owner_state" in plan, plan
