"""The archive for a helper has what one needs and no secret; the zipapp runs alone and is the same each time."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import Authority

from fedproc.onboarding import build_zipapp
from fedproc.onboarding.report.redact import REMOVED, redact

SECRETS = ("hunter2", "s3cr3t-token", "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1YiJ9.c2lnbmF0dXJl", "Zm9vOmJhcmJheg")


@pytest.fixture
def packed(check: Any, tmp_path: Path) -> dict[str, str]:
    """What lies in an archive made where secrets are about in all places that it looks at."""
    key, certificate = Authority.make("CA").pair("UB")
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "host.pem").write_bytes(certificate)
    settings = tmp_path / "site.toml"
    settings.write_text(
        f'host = "UB"\nstate = "{tmp_path}"\nkey = "{tmp_path}/key.pem"\npassword = "hunter2"\n'
        f'enrolment_code = "s3cr3t-token"\nnote = "{SECRETS[2]}"\npem = """{key.decode()}"""\n'
    )
    environment = {"HTTPS_PROXY": "http://user:hunter2@proxy.invalid:3128", "DOCKER_HOST": "tcp://s3cr3t-token@engine"}
    archive = tmp_path / "out.tar.gz"
    asking = type(check)(environment=environment)
    done = asking.run(
        "diagnose",
        "--only",
        "credentials,os,network",
        "--settings",
        str(settings),
        "--output",
        str(archive),
        "--service",
        "api=https://api.invalid",
        "--certificate",
        str(tmp_path / "host.pem"),
    )
    assert done.returncode == 2, done.stderr
    assert f"{archive}: packed for the helper, without secrets" in done.stdout
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as opened:
        return {m.name.removeprefix("fedproc-diagnose/"): opened.extractfile(m).read().decode() for m in opened}  # type: ignore[union-attr]


def test_no_secret_leaves_the_host(packed: dict[str, str], tmp_path: Path) -> None:
    key = (tmp_path / "key.pem").read_text().splitlines()[1:-1]
    found = [(name, secret) for name, content in packed.items() for secret in (*SECRETS, *key) if secret in content]
    assert found == []
    assert f"password = {REMOVED}" in packed["settings.toml"]
    assert f"HTTPS_PROXY=http://{REMOVED}@proxy.invalid:3128" in packed["environment.txt"]


def test_what_a_helper_needs_is_there_and_listed(packed: dict[str, str]) -> None:
    assert {"report.txt", "report.json", "report.html", "settings.toml", "environment.txt"} <= set(packed)
    assert {"files/os-release", "files/resolv.conf", "commands/docker.txt", "commands/kernel.txt"} <= set(packed)
    assert packed["commands/kernel.txt"].startswith("$ uname -a\nLinux ")
    listed = set(re.findall(r"^(\S+)  \d+ bytes$", packed["READ-ME-FIRST.txt"], re.MULTILINE))
    assert listed == set(packed) - {"READ-ME-FIRST.txt"}
    assert 'host = "UB"' in packed["settings.toml"], "what is no secret stays"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("password: hunter2 other", f"password: {REMOVED} other"),
        ('{"client_secret": "hunter2", "id": "UB"}', f'{{"client_secret": {REMOVED}, "id": "UB"}}'),
        ("Authorization: Bearer s3cr3t-token\nnext", f"Authorization: {REMOVED}\nnext"),
        ("curl -H bearer s3cr3t-token x", f"curl -H bearer {REMOVED} x"),
        ("run --db-password hunter2 --verbose", f"run --db-password {REMOVED} --verbose"),
        ("amqps://UB:hunter2@broker:443/", f"amqps://{REMOVED}@broker:443/"),
        ('{"kty":"EC","x":"AAAA","d":"c2VjcmV0c2VjcmV0c2VjcmV0"}', f'{{"kty":"EC","x":"AAAA","d":"{REMOVED}"}}'),
        ("-----BEGIN EC PRIVATE KEY-----\nAAA", REMOVED),
        ("-----BEGIN CERTIFICATE-----\nAAA", "-----BEGIN CERTIFICATE-----\nAAA"),
        ("token_url is https://id.example.org", "token_url is https://id.example.org"),
        ("the monkey ate 3 tokens", "the monkey ate 3 tokens"),
    ],
)
def test_what_looks_like_a_secret_is_taken_for_one(text: str, kept: str) -> None:
    assert redact(text) == kept


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist") / "fedproc-check.pyz"
    build_zipapp.build(target)
    return target


@pytest.fixture(params=[11, 12, 13])
def bare_python(request: pytest.FixtureRequest) -> str:
    """An interpreter of each supported version that is installed; this process's own is."""
    if request.param == sys.version_info.minor:
        return str(Path(sys.base_prefix) / "bin" / f"python3.{request.param}")
    shown = ["-c", "import sys; print(sys.executable)"]
    found = shutil.which(f"python3.{request.param}") or "no such program"
    try:
        return subprocess.run([found, *shown], capture_output=True, text=True, check=True, timeout=90).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"Python 3.{request.param} is not installed")


def alone(python: str, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run so that it sees no installed package and no variable of this process; a warning is an error."""
    command = [python, "-W", "error", "-I", "-S", *arguments]
    path = {"PATH": "/usr/bin:/bin:/usr/sbin"}
    return subprocess.run(
        command, cwd=cwd, env=path | environment, capture_output=True, text=True, check=False, timeout=180
    )


@pytest.mark.process
def test_the_zipapp_runs_with_a_bare_python_in_an_empty_folder(zipapp: Path, tmp_path: Path, bare_python: str) -> None:
    done = alone(bare_python, str(zipapp), "--html", "page.html", "--service", "api=https://api.invalid", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "")
    assert "Profile d6.1: D6.1, non functional requirements" in done.stdout
    assert "fedproc-check 0." in done.stdout
    assert "the name 'api.invalid' cannot be resolved" in done.stdout
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    packed = alone(bare_python, str(zipapp), "diagnose", "--only", "os", cwd=tmp_path)
    assert (packed.returncode, packed.stderr) == (0, "")
    assert len(list(tmp_path.glob("fedproc-diagnose-*.tar.gz"))) == 1


def test_the_zipapp_says_the_same_as_the_package(zipapp: Path, tmp_path: Path, check: Any, bare_python: str) -> None:
    only = ("--only", "gpu,cpu,os", "--profile", "tier3")
    inside = json.loads(alone(bare_python, str(zipapp), "check", "--json", *only, cwd=tmp_path).stdout)
    lines = [{**line, "measured": re.sub(r"Python [0-9.]+", "", line["measured"])} for line in inside["lines"]]
    outside = [
        {**line, "measured": re.sub(r"Python [0-9.]+", "", line["measured"])} for line in check(*only).report["lines"]
    ]
    assert lines == outside


def test_it_reads_gpus_through_the_binding_inside(
    zipapp: Path, tmp_path: Path, bare_python: str, gpus: Any, gpu_line: Any
) -> None:
    stub = gpus()
    stub.say(gpu_line("NVIDIA A10", 23028))
    done = alone(bare_python, str(zipapp), "--only", "gpu", cwd=tmp_path, **stub.environment)
    assert (done.returncode, "1 GPU: GPU 0: NVIDIA A10, 22.5 GiB" in done.stdout) == (0, True), done.stdout


@pytest.mark.slow
def test_the_zipapp_is_the_same_each_time_and_holds_no_binary(zipapp: Path, tmp_path: Path) -> None:
    build_zipapp.build(tmp_path / "again.pyz")
    assert (tmp_path / "again.pyz").read_bytes() == zipapp.read_bytes()
    with zipfile.ZipFile(zipapp) as archive:
        names = archive.namelist()
    assert {Path(name).suffix for name in names} == {".py", ".toml", ""}
    assert {name.split("/")[0] for name in names} == {"__main__.py", "pynvml.py", "fedproc"}
    rooms = ("fedproc/onboarding/", "fedproc/net/")
    assert all(name.startswith(rooms) or name == "fedproc/__init__.py" for name in names if "/" in name)


@pytest.mark.process
def test_an_older_python_is_told_what_is_needed(tmp_path: Path) -> None:
    """The entry is in a form that every Python 3 reads; here it is told that it runs on 3.8."""
    script = "import sys; sys.version_info = (3, 8, 1); exec(compile(open(sys.argv[1]).read(), 'x', 'exec'))"
    (tmp_path / "entry.py").write_text(build_zipapp.ENTRY)
    done = alone(sys.executable, "-c", script, "entry.py", cwd=tmp_path)
    assert done.returncode == 64
    assert "this is Python 3.8, it needs 3.11, 3.12 or 3.13" in done.stderr
