"""What is kept of a PACS or a Data API: who of the machine may read it."""

from __future__ import annotations

import stat
from pathlib import Path

from fedproc.site.data.remote.file_store import Store


def test_other_accounts_read_nothing_in_a_store_even_in_one_of_the_release_before(tmp_path: Path) -> None:
    for name in ("files", "incoming", "series"):
        (tmp_path / name).mkdir(mode=0o755)
    store = Store(tmp_path, 100)
    with store.incoming(10) as come:
        come.write(b"pixels")
        kept = store.take(come)
    assert store.path(kept.sha256).read_bytes() == b"pixels"
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in tmp_path.iterdir()} == {0o700}
