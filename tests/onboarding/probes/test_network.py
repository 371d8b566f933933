"""Each fault of a network is named, and no other, in a little internet of the tests' own (``small_internet.py``)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs_root

ONLY = ("--only", "network", "--profile", "fedproc")


def ask(internet: Any, name: str, *more: str, ca: str | None = None, **environment: str) -> Any:
    service = f"api=https://{name}.centre.test"
    return internet.check(**environment)(*ONLY, "--service", service, "--ca", ca or internet.ca, *more)


def api(result: Any) -> dict[str, Any]:
    line: dict[str, Any] = result.lines["network.api"]
    return line


def test_what_is_well_is_well_with_its_evidence(internet: Any) -> None:
    broker = ("--service", "broker=amqps://broker.centre.test")
    result = ask(internet, "api", *broker)
    assert result.code == 0
    assert set(result.verdicts.values()) == {"meets-recommended"}
    assert result.faults == set()
    assert "TLSv1.3, certificate by 'O=Test, CN=centre test CA'" in api(result)["measured"]
    assert "answers as an AMQP 0-9-1 broker" in result.lines["network.broker"]["measured"]


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("nowhere", "dns", "does not exist"),
        ("refused", "tcp-refused", "192.0.2.11) refuses"),
        ("silent", "tcp-timeout", "does not answer within"),
        ("unroutable", "tcp-unreachable", "unreachable"),
        ("plain", "no-tls", "TLS fails"),
        ("mute", "tls-cut", "no TLS within"),
        ("cut", "tls-cut", "cut during the TLS handshake"),
        ("expired", "certificate-expired", "has expired"),
        ("future", "certificate-not-yet-valid", "not valid yet"),
        ("othername", "certificate-name", "portal.hospital.test"),
        ("inspected", "tls-intercepted", "inspector test CA"),
        ("years", "clock", "this machine's clock says"),
    ],
)
def test_one_fault_has_one_name(internet: Any, name: str, code: str, says: str) -> None:
    result = ask(internet, name)
    assert result.faults == {code}
    assert api(result)["verdict"] == "fails"
    assert says in api(result)["measured"]
    assert api(result)["cure"]
    assert result.code == 2


def test_where_the_service_is_not_reached_the_clock_is_not_guessed(internet: Any) -> None:
    result = ask(internet, "refused")
    assert result.verdicts["network.clock"] == "could-not-tell"


@pytest.fixture
def deaf_name_server(internet: Any) -> Iterator[None]:
    settings = internet.folder / "resolv.conf"
    before = settings.read_text()
    settings.write_text("nameserver 198.51.100.66\n")
    yield
    settings.write_text(before)


def test_a_name_server_that_never_answers_is_dns_and_is_not_waited_for(internet: Any, deaf_name_server: None) -> None:
    result = ask(internet, "api", "--service", "broker=amqps://broker.centre.test")
    assert result.faults == {"dns"}
    assert "within 5 s" in api(result)["measured"]


def test_another_ca_than_the_services_is_a_wrong_ca(internet: Any) -> None:
    result = ask(internet, "api", ca=internet.other_ca)
    assert result.faults == {"wrong-ca"}
    assert "issued by 'O=Test, CN=centre test CA'" in api(result)["measured"]
    assert "holds only 'O=Test, CN=other test CA'" in api(result)["measured"]


def test_the_fingerprint_tells_a_wrong_ca_before_any_connection(internet: Any) -> None:
    result = ask(internet, "api", "--ca-sha256", "ab" * 32)
    assert result.faults == {"wrong-ca"}
    assert "not the CA whose SHA-256 is abab" in api(result)["measured"]


def test_a_ca_file_that_is_none_is_a_wrong_ca(internet: Any, tmp_path: Any) -> None:
    bad = tmp_path / "ca.pem"
    bad.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert ask(internet, "api", ca=str(bad)).faults == {"wrong-ca"}
    assert ask(internet, "api", ca=str(tmp_path / "absent.pem")).faults == {"wrong-ca"}


def test_an_issuer_that_this_machine_does_not_know_is_shown(internet: Any) -> None:
    result = internet.check()(*ONLY, "--service", "api=https://api.centre.test")
    assert result.faults == {"unknown-issuer"}
    assert "issued by 'O=Test, CN=centre test CA', whom this machine does not know" in api(result)["measured"]


def test_where_only_the_hash_is_known_the_api_shows_the_authority(internet: Any) -> None:
    broker = ("--service", "broker=amqps://broker.centre.test", "--service", "api=https://api.centre.test")
    result = internet.check()(*ONLY, *broker, "--ca-sha256", internet.sha256("centre"))
    assert result.code == 0
    assert set(result.verdicts.values()) == {"meets-recommended"}


def test_an_authority_with_another_hash_is_not_trusted(internet: Any) -> None:
    result = internet.check()(*ONLY, "--service", "api=https://api.centre.test", "--ca-sha256", "ab" * 32)
    assert result.faults == {"wrong-ca"}


def test_an_api_that_is_not_reached_shows_nothing(internet: Any) -> None:
    result = internet.check()(*ONLY, "--service", "api=https://refused.centre.test", "--ca-sha256", "ab" * 32)
    assert result.faults == {"tcp-refused"}


@pytest.mark.parametrize(
    ("name", "verdict", "side"),
    [
        ("skew25", "meets-recommended", "behind"),
        ("skew35", "meets-minimum", "behind"),
        ("skew-50", "meets-minimum", "ahead of"),
        ("skew65", "fails", "behind"),
        ("skew-300", "fails", "ahead of"),
    ],
)
def test_the_clock_warns_from_30_s_and_fails_from_60_s(internet: Any, name: str, verdict: str, side: str) -> None:
    result = ask(internet, name)
    assert result.verdicts == {"network.api": "meets-recommended", "network.clock": verdict}
    assert result.faults == (set() if verdict == "meets-recommended" else {"clock"})
    assert f"s {side} api" in result.lines["network.clock"]["measured"]


def with_clock_off_by(internet: Any, shift: str) -> Any:
    """The check, on a machine whose own clock is off."""
    if shutil.which("faketime") is None:
        pytest.skip("'faketime' is not installed: this machine's clock cannot be set wrong for one program")
    right = internet.check(FAKETIME_DONT_FAKE_MONOTONIC="1")
    wrong = type(right)((*right.prefix, "faketime", "-f", shift), right.environment)
    return wrong(*ONLY, "--service", "api=https://api.centre.test", "--ca", internet.ca)


@pytest.mark.parametrize(("shift", "seconds", "side"), [("+90s", 90, "ahead of"), ("-45s", 45, "behind")])
def test_this_machines_own_clock_is_measured(internet: Any, shift: str, seconds: int, side: str) -> None:
    result = with_clock_off_by(internet, shift)
    assert result.faults == {"clock"}
    measured = result.lines["network.clock"]["measured"]
    assert f"s {side} api" in measured
    assert abs(float(measured.split()[0]) - seconds) <= 2


@pytest.mark.parametrize("shift", ["+2y", "-2y"])
def test_a_clock_so_wrong_that_certificates_look_out_of_time_is_the_clock(internet: Any, shift: str) -> None:
    result = with_clock_off_by(internet, shift)
    assert result.faults == {"clock"}
    assert "this machine's clock says" in result.lines["network.clock"]["measured"]


def proxy(port: int, credentials: str = "") -> str:
    return f"http://{credentials}proxy.centre.test:{port}"


def test_through_a_proxy_that_forwards_all_is_well(internet: Any) -> None:
    result = ask(internet, "api", HTTPS_PROXY=proxy(3128))
    assert result.code == 0
    assert "through the proxy proxy.centre.test:3128" in api(result)["measured"]


def test_the_option_goes_before_the_environment_and_no_proxy_exempts(internet: Any) -> None:
    stated = ask(internet, "api", "--proxy", proxy(3128), HTTPS_PROXY=proxy(3130))
    assert stated.code == 0
    exempted = ask(internet, "api", HTTPS_PROXY=proxy(3130), NO_PROXY="centre.test")
    assert exempted.code == 0
    assert "proxy" not in api(exempted)["measured"]


@pytest.mark.parametrize(
    ("address", "code", "says"),
    [
        (proxy(3129), "proxy-auth", "(Basic); none were given"),
        (proxy(3129, "user:geheim@"), "proxy-auth", "not accepted"),
        (proxy(3130), "proxy-refused", "403 Forbidden by policy"),
        (proxy(3131), "tls-intercepted", "inspector test CA"),
        (proxy(3133), "tls-intercepted", "even for a host that does not exist"),
        (proxy(3132), "proxy-refused", "does not answer as an HTTP proxy"),
        (proxy(3199), "proxy-unreachable", "refuses the connection"),
        ("http://nowhere.centre.test:3128", "proxy-unreachable", "cannot be resolved"),
        ("https://proxy.centre.test:3128", "proxy-setting", "not of the form"),
        ("proxy.centre.test", "proxy-setting", "not of the form"),
    ],
)
def test_one_fault_of_a_proxy_has_one_name(internet: Any, address: str, code: str, says: str) -> None:
    result = ask(internet, "api", HTTPS_PROXY=address)
    assert result.faults == {code}
    assert says in api(result)["measured"]
    assert "geheim" not in str(result.report)


def test_a_wrong_ca_behind_an_honest_proxy_is_not_taken_for_inspection(internet: Any) -> None:
    result = ask(internet, "api", ca=internet.other_ca, HTTPS_PROXY=proxy(3128))
    assert result.faults == {"wrong-ca"}


def test_a_confirmed_ca_proves_inspection(internet: Any) -> None:
    """The other CA stands for the centre's, confirmed by its fingerprint; what answers is signed by someone else."""
    result = ask(internet, "api", "--ca-sha256", internet.sha256("other"), ca=internet.other_ca)
    assert result.faults == {"tls-intercepted"}


def test_a_proxy_takes_a_user_and_password(internet: Any) -> None:
    assert ask(internet, "api", HTTPS_PROXY=proxy(3129, "other:pass@")).code == 0


def test_they_may_stand_in_a_file_which_no_command_line_shows(internet: Any, tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text(proxy(3129, "other:pass@") + "\n")
    (tmp_path / "proxy").chmod(0o600)
    result = ask(internet, "api", "--proxy-file", str(tmp_path / "proxy"), HTTPS_PROXY=proxy(3130))
    assert result.code == 0
    assert "other:pass" not in str(result.report) + result.errors


def test_a_web_server_is_not_a_broker(internet: Any) -> None:
    result = internet.check()(*ONLY, "--service", "broker=amqps://api.centre.test:443", "--ca", internet.ca)
    assert result.faults == {"no-answer"}


def test_a_data_api_is_reached_without_the_proxy(internet: Any) -> None:
    only = ("--only", "data-api", "--profile", "fedproc", "--ca", internet.ca)
    check = internet.check(HTTPS_PROXY=proxy(3130))
    assert check(*only, "--data-api", "https://data.centre.test/api").code == 0
    down = check(*only, "--data-api", "https://refused.centre.test/")
    assert down.faults == {"tcp-refused"}
    assert down.verdicts == {"data-api.access": "fails"}


def test_several_broken_services_are_checked_side_by_side(internet: Any) -> None:
    services = [
        f"--service=s{n}=https://{name}.centre.test" for n, name in enumerate(("silent", "mute", "silent", "cut"))
    ]
    result = internet.check()(*ONLY, *services, "--ca", internet.ca)
    assert [line["fault"] for line in result.report["lines"][:4]] == [
        "tcp-timeout",
        "tls-cut",
        "tcp-timeout",
        "tls-cut",
    ]
