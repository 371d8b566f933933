"""Lists of DICOM JSON are taken apart one by one as they would be whole."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.examples import examples

from fedproc.common.tasks import StopFlag, StoppedError
from fedproc.site.data.remote import instances as module
from fedproc.site.data.remote.errors import RemoteError
from fedproc.site.data.remote.instances import instances

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(st.text(max_size=4), LEAVES, max_size=2)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=8), VALUES, max_size=3), max_size=4)


def taken(content: bytes) -> list[dict[str, Any]]:
    """The same however it comes."""
    found = list(instances(io.BytesIO(content), "/x", lambda: None))
    for size in (1, 2, 3, 7):
        with patch.object(module, "_PIECE", size):
            assert list(instances(io.BytesIO(content), "/x", lambda: None)) == found
    return found


@pytest.mark.slow
@examples(60)
@given(OBJECTS, st.sampled_from([None, 1]), st.booleans())
def test_list_is_the_same_as_when_it_is_read_whole(found: list[Any], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(found, indent=indent, ensure_ascii=ascii_only)
    assert taken(text.encode("utf-8", "surrogatepass")) == json.loads(text)


@pytest.mark.slow
@examples(200)
@given(st.text('[]{},:" \\1a', max_size=12))
def test_text_that_is_no_list_of_objects_is_refused(text: str) -> None:
    try:
        whole = json.loads(text)
        expected = whole if isinstance(whole, list) and all(isinstance(one, dict) for one in whole) else None
    except ValueError:
        expected = None
    if expected is None:
        with pytest.raises(RemoteError):
            taken(text.encode())
    else:
        assert taken(text.encode()) == expected


def test_whoever_does_not_wait_any_more_stops_it() -> None:
    flag = StopFlag()
    found = instances(io.BytesIO(b"[" + b",".join([b"{}"] * 10) + b"]"), "/x", flag.check)
    next(found)
    flag.set()
    with pytest.raises(StoppedError):
        next(found)


@pytest.mark.slow
def test_what_is_held_is_no_more_than_an_object() -> None:
    """50 MB of them, one after the other."""
    one = json.dumps({"00080018": {"vr": "UT", "Value": ["x" * 100_000]}}).encode()
    content = io.BytesIO(b"[" + b",".join([one] * (50_000_000 // len(one))) + b"]")
    tracemalloc.start()
    try:
        count = sum(1 for _ in instances(content, "/x", lambda: None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 50_000_000 // len(one)
    assert peak < 2 << 20
