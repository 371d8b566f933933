"""``python -m bench.wan [--rounds N]``: what a bad network costs (``make bench-federation``).

Against the running federation (make federation): one Flower training over three hospitals, with their networks as they
are, and with latency, loss, little bandwidth, or an HTTP proxy. Ratios within one run, each condition in turn, into
``bench/results/federation.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager as Context
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.federation.centre import Centre
from tests.federation.machines import Machine, docker

from bench.measure import Sample, side_by_side
from fedproc.common.errors import FedprocError
from fedproc.demo.containers import GATEWAY

HOSTS = ("UB", "BSC", "FORTH")
PROXY = "172.30.77.91"
_PROGRAM = Path(__file__).parents[1] / "tests/federation/connect_proxy.py"
_ROUNDS_OF_TRAINING = 5
_NARROW = ("tbf", "rate", "2mbit", "burst", "32kbit", "latency", "400ms")


@dataclass(frozen=True)
class Condition:
    """A way in which the hospitals' networks are bad."""

    name: str
    what: str
    made: Callable[[Centre], Context[None]]


def _each(*commands: tuple[str, ...]) -> None:
    for host in HOSTS:
        for command in commands:
            Machine(host).run(*command)


@contextmanager
def _queue(*discipline: str) -> Iterator[None]:
    """A queueing discipline on what leaves each hospital, and on what the gateway sends to each."""
    leaving = ("tc", "qdisc", "replace", "dev", "eth0", "root", *discipline)
    ends = [*map(Machine, HOSTS), Machine("centre")]
    try:
        for end in ends:
            end.run(*leaving)
        yield
    finally:
        for end in ends:
            end.try_run("tc", "qdisc", "del", "dev", "eth0", "root")


def netem_is_there() -> bool:
    """Whether this machine's kernel has tc's network emulator."""
    try:
        with _queue("netem", "delay", "1ms"):
            return True
    except AssertionError:
        return False


@contextmanager
def _dropping(percent: int) -> Iterator[None]:
    """Each hospital loses so many of the packets that come from the gateway (nftables, where there is no netem)."""
    rule = f"ip saddr {GATEWAY} numgen random mod 100 < {percent} drop"
    try:
        for host in HOSTS:
            table = f"table inet lossy {{ chain input {{ type filter hook input priority -20; {rule}; }}; }}"
            Machine(host).run("nft", "-f", "-", given=table)
        yield
    finally:
        for host in HOSTS:
            Machine(host).try_run("nft", "delete", "table", "inet", "lossy")


@contextmanager
def _through_proxy(centre: Centre, delay_ms: int = 0) -> Iterator[None]:
    """All that leaves the hospitals goes through an HTTP proxy, which holds every chunk back for ``delay_ms``."""
    proxy = Machine("bench-proxy")
    docker(
        "run", "--detach", "--name", proxy.container, "--network", "fedproc", "--ip", PROXY,
        Machine("centre").image, "python3", "-c", _PROGRAM.read_text(), GATEWAY, "site:word", str(delay_ms),
    )  # fmt: skip
    setting = 's|^ca_file = "/etc/fedproc/ca.crt"$|&\\nproxy_file = "/etc/fedproc/proxy"|; t; '
    try:
        for host in HOSTS:
            script = f"umask 077; echo http://site:word@{PROXY}:3128 > /etc/fedproc/proxy"
            Machine(host).run("sh", "-c", script)
            Machine(host).run(
                "sed", "-i", f"/^\\[centre\\]/,/^\\[connections\\]/ {{ {setting} }}", "/etc/fedproc/host.toml"
            )
        _each(("systemctl", "restart", "fedproc-orchestrator"))
        centre.wait_until_accepting(*HOSTS)
        yield
    finally:
        _each(
            ("sed", "-i", '/^proxy_file = "\\/etc\\/fedproc\\/proxy"$/d', "/etc/fedproc/host.toml"),
            ("rm", "-f", "/etc/fedproc/proxy"),
            ("systemctl", "restart", "fedproc-orchestrator"),
        )
        docker("rm", "--force", "--volumes", proxy.container)
        centre.wait_until_accepting(*HOSTS)


def conditions() -> list[Condition]:
    """Those that this machine's kernel can make; latency comes from a proxy where it has no netem."""
    emulated = netem_is_there()
    latency = (lambda _: _queue("netem", "delay", "50ms")) if emulated else (lambda centre: _through_proxy(centre, 50))
    loss = (lambda _: _queue("netem", "loss", "2%")) if emulated else (lambda _: _dropping(2))
    by = "tc netem" if emulated else "a proxy that holds back, as this kernel has no netem"
    dropped = "tc netem" if emulated else "nftables, as this kernel has no netem"
    return [
        Condition("latency", f"50 ms each way ({by})", latency),
        Condition("loss", f"2 % of packets lost ({dropped})", loss),
        Condition("bandwidth", "2 Mbit/s at each hospital and at the gateway (tc tbf)", lambda _: _queue(*_NARROW)),
        Condition("proxy", "an HTTP CONNECT proxy", _through_proxy),
    ]  # fmt: skip


def _train(centre: Centre) -> None:
    datasets = [f"{host}:wisconsin" for host in HOSTS]
    centre.succeeds(centre.run("flower-logistic", datasets=datasets, rounds=_ROUNDS_OF_TRAINING), 600)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: all measured."""
    parser = argparse.ArgumentParser(prog="bench.wan", description="what a bad network costs an experiment")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args(arguments)
    centre = Centre()
    found = [(condition, *_beside(centre, condition, given.rounds)) for condition in conditions()]
    table = _written(found, given.out)
    centre.close()
    print(f"\n{table}\nwritten to {given.out}")
    return 0


def _beside(centre: Centre, condition: Condition, rounds: int) -> tuple[Sample, Sample]:
    """Seconds of a training as it is, and under the condition. Making the condition is not in the time."""
    plain: list[float] = []
    bad: list[float] = []
    _train(centre)
    for number in range(rounds):
        for context, taken in ((nullcontext(), plain), (condition.made(centre), bad)):
            with context:
                taken.append(side_by_side(1, lambda: _train(centre), warm=0)[0].median)
        print(f"{condition.name} {number + 1}/{rounds}: {plain[-1]:.1f} s plain, {bad[-1]:.1f} s", flush=True)
    return Sample(tuple(plain)), Sample(tuple(bad))


def _written(found: list[tuple[Condition, Sample, Sample]], folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"One Flower training of {_ROUNDS_OF_TRAINING} rounds over {', '.join(HOSTS)}, ÷ the same with their networks "
        "as they are; medians, in brackets the first and third quartile.\n",
        "| condition | ratio | seconds | plain, seconds |",
        "|---|---|---|---|",
    ]
    content = []
    for condition, plain, bad in found:
        ratio = bad.over(plain)
        spread = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        lines.append(f"| {condition.what} | {spread} | {bad.median:.1f} | {plain.median:.1f} |")
        content.append({"name": condition.name, "what": condition.what, "seconds": bad.values, "plain": plain.values})
    table = "\n".join(lines) + "\n"
    (folder / "federation.md").write_text(table)
    stated = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "conditions": content}
    (folder / "federation.json").write_text(json.dumps(stated, indent=1) + "\n")
    return table


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FedprocError as error:
        sys.exit(f"bench: {error.message}")
