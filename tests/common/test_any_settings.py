"""host.toml, policy.toml and the centre's settings: of any bytes, they are read, or refused with file and key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from tests.support.anything import BYTES, bent
from tests.support.examples import examples

from fedproc.common.errors import InvalidInputError
from fedproc.site.policy import policy_file
from fedproc.site.settings import SiteSettings
from fedproc.site.settings import load as load_host

POLICY: dict[str, Any] = {
    "users": ["*"],
    "minimum_count": 5,
    "metrics": True,
    "logs": False,
    "release": {"report": "automatic"},
    "maximum": {"memory_mb": 1},
    "metrics_per_minute": 3,
    "tools": [{"id": "km", "digest": "*", "users": ["a"], "connections": [{"task": "server", "max_mb": 1.5}]}],
}
HOST: dict[str, Any] = {
    "host": "UB",
    "state": "/s",
    "key": "/k",
    "policy": "/p",
    "datasets": {"cohort": {"path": "/d", "version": "1"}},
    "centre": {
        "api_url": "https://a",
        "issuer_url": "https://i",
        "broker_host": "b",
        "dispatch_keys": ["/d"],
        "catalogue_keys": ["/c"],
    },
    "capacity": {"gpus": ["GPU-1"]},
    "docker": {"registries": {"a": "b"}},
    "heartbeat_seconds": 5.0,
}
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def toml(value: dict[str, Any]) -> bytes:
    try:
        return tomli_w.dumps(value).encode()
    except (TypeError, ValueError, UnicodeEncodeError):
        return b"a = "


ODD = st.sampled_from(
    [
        b"\xef\xbb\xbfusers = []",
        b"a = 1979-05-27T07:32:00Z",
        b"a = 99999-01-01",
        b"[a]\n[a]",
        b"a.b = 1\na.c.d = 2",
        b"\x00",
        b"a = " + b"[" * 5000,
        b"a = " + b"9" * 5000,
        b"[[" + b"a." * 3000 + b"b]]",
        b"a = inf",
        b"a = nan",
        b"users = nan",
    ]
)


@pytest.mark.parametrize(("load", "right"), [(policy_file.load, POLICY), (load_host, HOST)])
def test_right_one_is_read(tmp_path: Path, load: Any, right: dict[str, Any]) -> None:
    (tmp_path / "a.toml").write_bytes(toml(right))
    load(tmp_path / "a.toml")


@pytest.mark.slow
@examples(150)
@given(
    chosen=st.sampled_from([(policy_file.load, POLICY), (load_host, HOST)]).flatmap(
        lambda one: st.tuples(st.just(one[0]), st.one_of(bent(one[1], VALUES).map(toml), BYTES, ODD))
    )
)
def test_file_of_any_bytes_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, chosen: Any) -> None:
    load, content = chosen
    path = tmp_path_factory.mktemp("settings") / "a.toml"
    path.write_bytes(content)
    try:
        read = load(path)
        if load is policy_file.load:
            policy_file.check_order(path, read)
    except InvalidInputError as error:
        assert str(path) in error.message
    else:
        assert isinstance(read, SiteSettings | policy_file.Policy)
        assert not isinstance(read, SiteSettings) or math.isfinite(read.heartbeat_seconds)


@pytest.mark.parametrize("kind", ["fifo", "folder", "gone"])
def test_file_that_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "policy.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        import os

        os.mkfifo(path)
    with pytest.raises(InvalidInputError, match=r"policy\.toml"):
        policy_file.load(path)
