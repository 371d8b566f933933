"""What others may send, write or name: any bytes, any JSON, and what is right but for one place in it."""

from __future__ import annotations

import copy
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

ODD_TEXTS = (
    "", "\x00", "\ud800", "\udfff\ud800", "\x1b[2J\x1b]0;x\x07", "\u2028", "\x85", "\r\n", "[/]", "[bold red]x[/bold]",
    "[link=http://x]y[/link]", "[@click=app.bell]x[/]", ":smile:", "{0}{x!r}", "%s%n", "..", "/", "../../etc/passwd",
    "a" * 5000, "\N{RIGHT-TO-LEFT OVERRIDE}txt", "NaN", "null", "\\", "'\"`$(x)", "\ufeff", "é" * 300, "j-" + "0" * 26,
)  # fmt: skip
ODD_NUMBERS = (
    0, -1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"),
    float("-inf"), -0.0, True,
)  # fmt: skip
TEXTS = st.one_of(st.sampled_from(ODD_TEXTS), st.text(st.characters(), max_size=40))
NUMBERS = st.one_of(st.sampled_from(ODD_NUMBERS), st.integers(), st.floats())
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)
"""values that Python's json reads and writes: NaN, lone surrogates and integers of any size are among them"""
DEEP = st.builds(
    lambda depth, pair: pair[0] * depth + pair[1] * depth,
    st.sampled_from([30, 33, 200, 1000, 5000, 100_000]),
    st.sampled_from([("[", "]"), ('{"a":', "}"), ("[", "")]),
)
"""JSON's text, nested deeper than readers follow"""
BYTES = st.one_of(
    st.binary(max_size=200),
    TEXTS.map(lambda text: text.encode(errors="surrogatepass")),
    JSON.map(lambda value: json.dumps(value).encode()),
    DEEP.map(str.encode),
    st.just(b'{"a": 1, "a": {"b": 1, "b": 2}}'),
    st.just(b"\xef\xbb\xbf{}"),
)
NAMES = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.sampled_from([text.encode(errors="surrogatepass") for text in ODD_TEXTS if text]),
).filter(lambda name: 0 not in name and b"/" not in name and name not in (b".", b"..") and len(name) < 255)
"""of files, as Linux takes them"""


@st.composite
def bent(draw: Any, value: Any, values: st.SearchStrategy[Any] = JSON) -> Any:
    """``value``, of JSON, with up to three places of it replaced, left out, or joined by others."""
    made = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        made = _bent(draw, made, values)
    return made


def _bent(draw: Any, made: Any, values: st.SearchStrategy[Any]) -> Any:
    places = list(_places(made))
    if not places:
        return draw(values)
    holder, key = draw(st.sampled_from(places))
    how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
    if how == "remove":
        del holder[key]
    elif how == "add" and isinstance(holder, dict):
        holder[draw(TEXTS)] = draw(values)
    elif how == "add":
        holder.append(draw(values))
    else:
        holder[key] = draw(values)
    return made


def _places(value: Any) -> Any:
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(inner):
        yield value, key
        yield from _places(item)


def as_json(value: Any) -> bytes:
    """Its text, with all that Python can write and a reader may not take."""
    return json.dumps(value).encode()


# -- files

KINDS = ("file", "file", "file", "folder", "link", "loop", "fifo", "socket", "device", "sparse", "unreadable", "hard")
TREES = st.lists(st.tuples(NAMES, st.sampled_from(KINDS), BYTES, st.integers(0, 3)), max_size=6)
"""(name, kind, content, depth) of what :func:`plant` makes"""


def plant(folder: Path, tree: list[tuple[bytes, str, bytes, int]]) -> None:
    """Make all of it below ``folder``, as far as this machine lets it; what is in the way of another stays away."""
    for name, kind, content, depth in tree:
        place = os.fsencode(folder)
        for _ in range(depth):
            place += b"/d"
        with suppress(OSError, ValueError):
            Path(os.fsdecode(place)).mkdir(parents=True, exist_ok=True)
            _make(place + b"/" + name, kind, content)


def _make(path: bytes, kind: str, content: bytes) -> None:
    """Nothing that is there is opened, and no link followed: it may lead to a file of this machine."""
    place = Path(os.fsdecode(path))
    if kind == "folder":
        place.mkdir()
    elif kind == "link":
        target = content[:100].replace(b"\0", b"") or b"x"
        place.symlink_to("/etc/passwd" if len(content) % 2 else os.fsdecode(target))
    elif kind == "loop":
        place.symlink_to(place.name)
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "socket":
        os.mknod(place, 0o140666)
    elif kind == "device":
        os.mknod(place, 0o20666, os.makedev(1, 5))
    else:
        _file(place, kind, content)


def _file(path: Path, kind: str, content: bytes) -> None:
    made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(made, "wb") as file:
        file.write(content)
        if kind == "sparse":
            file.truncate(1 << 40)
        if kind == "unreadable":
            os.fchmod(made, 0)
    if kind == "hard":
        path.with_name("hard").hardlink_to(path)
