"""Secrets of two hosts: masks that cancel, that nobody else has, and orders with which none are made."""

from __future__ import annotations

import pytest
from joserfc.jwk import ECKey
from tests.support.masking import HOSTS, WORD, MaskingHosts

from fedproc.common.errors import RefusedError
from fedproc.common.keys import public_jwk
from fedproc.contract.ids import new_id
from fedproc.site.masking.pairs import Pairs


@pytest.fixture(scope="module")
def hosts() -> MaskingHosts:
    return MaskingHosts()


def test_masks_of_all_hosts_cancel_and_those_of_fewer_do_not(hosts):
    masks = {host: hosts.pairs(host).masks("sums", 5) for host in HOSTS}
    assert [sum(column) % WORD for column in zip(*masks.values(), strict=True)] == [0] * 5
    for left_out in HOSTS:
        rest = [masks[host] for host in HOSTS if host != left_out]
        assert all(sum(column) % WORD > 0 for column in zip(*rest, strict=True))


def test_masks_are_the_same_again_and_others_for_another_output_job_or_experiment(hosts):
    first = hosts.pairs("UB").masks("sums", 3)
    assert hosts.pairs("UB").masks("sums", 3) == first
    again = MaskingHosts(keys=hosts.keys)
    other_job = {**hosts.parts, "BSC": {**hosts.parts["BSC"], "job": new_id("j")}}
    others = [
        hosts.pairs("UB").masks("counts", 3),
        again.pairs("UB").masks("sums", 3),
        hosts.pairs("UB", experiment=new_id("e")).masks("sums", 3),
        hosts.pairs("UB", masks=other_job).masks("sums", 3),
    ]
    assert not set(first) & {mask for masks in others for mask in masks}


TOOL = {"id": "t", "version": "1.0.0", "digest": "sha256:" + "1" * 64}
LATER = dict.fromkeys(("start_by", "end_by", "release_by"), "2030-01-02T00:00:00Z")


@pytest.mark.parametrize("changed", [{"parameters": {"min_cell": 5}}, {"tool": TOOL}, {"deadlines": LATER}])
def test_another_calculation_under_the_same_ids_has_other_masks(hosts, changed):
    first = hosts.pairs("UB", parameters={"min_cell": 10}).masks("sums", 3)
    assert not set(first) & set(hosts.pairs("UB", **{"parameters": {"min_cell": 10}, **changed}).masks("sums", 3))


def test_what_is_one_hosts_own_leaves_masks_that_cancel(hosts):
    """Its dataset and its own parameters are no other host's."""
    orders = {
        host: hosts.order(host, parameters={"table": host, "min_cell": 10}, datasets=[{"id": f"d{place}"}])
        for place, host in enumerate(HOSTS)
    }
    masks = [Pairs(orders[host], host, hosts.keys[host], {}, {"table"}).masks("sums", 2) for host in HOSTS]
    assert [sum(column) % WORD for column in zip(*masks, strict=True)] == [0, 0]


def test_terms_that_each_provider_gives_its_own_host_leave_masks_that_cancel(hosts):
    """docs/decisions/0019-masks-by-the-host.md"""
    own = {
        "UB": {"project": "P1", "permit": "A-1", "told_by": {"project": "ub", "permit": "ub"}},
        "BSC": {"project": "P2"},
    }
    masks = [hosts.pairs(host, **own.get(host, {})).masks("sums", 2) for host in HOSTS]
    assert [sum(column) % WORD for column in zip(*masks, strict=True)] == [0, 0]


def test_who_is_told_of_another_host_has_masks_that_do_not_cancel(hosts):
    """An order that names the aggregator's key as that of a host spoils the sum instead of opening it to the others."""
    false = {**hosts.parts, "BSC": {**hosts.parts["BSC"], "key": public_jwk(ECKey.generate_key("P-256"))}}
    masks = [hosts.pairs(host, masks=false if host == "UB" else hosts.parts).masks("sums", 2) for host in HOSTS]
    assert all(sum(column) % WORD > 0 for column in zip(*masks, strict=True))


def _without(hosts: MaskingHosts, *left_out: str) -> dict:
    return {host: part for host, part in hosts.parts.items() if host not in left_out}


def _changed(hosts: MaskingHosts, host: str, **changes) -> dict:
    return {**hosts.parts, host: {**hosts.parts[host], **changes}}


REFUSED = {
    "names no hosts to mask them with": lambda hosts: {"masks": {}},
    "masked sum of 2 hosts": lambda hosts: {"masks": _without(hosts, "BSC"), "hosts": {"local": ["UB", "FORTH"]}},
    "are not those of its task": lambda hosts: {"hosts": {"local": [*HOSTS, "CESGA"]}},
    "each with its key": lambda hosts: {"masks": _changed(hosts, "BSC", key=hosts.parts["FORTH"]["key"])},
    "another key or job of this host": lambda hosts: {"masks": _changed(hosts, "UB", job=new_id("j"))},
    "no usable key of host BSC": lambda hosts: {"masks": _changed(hosts, "BSC", key={"kty": "EC", "crv": "P-256"})},
}


@pytest.mark.parametrize("text", REFUSED)
def test_order_with_which_masks_would_protect_nobody_is_refused(hosts, text):
    with pytest.raises(RefusedError, match=text) as caught:
        hosts.pairs("UB", **REFUSED[text](hosts))
    assert caught.value.code == "masks.refused"


def test_own_key_under_which_the_order_has_another_is_refused(hosts):
    with pytest.raises(RefusedError, match="another key or job of this host"):
        Pairs(hosts.order("UB"), "UB", ECKey.generate_key("P-256"), {})


def test_site_that_was_told_a_hosts_key_masks_with_no_other(hosts):
    known = {host: key.thumbprint() for host, key in hosts.keys.items()}
    assert Pairs(hosts.order("UB"), "UB", hosts.keys["UB"], known).hosts == list(HOSTS)
    with pytest.raises(RefusedError, match="names of BSC is not the one that this site knows"):
        Pairs(hosts.order("UB"), "UB", hosts.keys["UB"], known | {"BSC": known["FORTH"]})
