"""The command line: ``check`` (also without its name), ``diagnose``, ``profiles``.

Exit codes: 0 all met; 1 only recommendations missed; 2 a requirement fails or could not be told; 64 the command line
or a file given by it is wrong; 73 a file could not be written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from fedproc.net.errors import RouteError
from fedproc.net.proxy import stated_proxy
from fedproc.onboarding import check
from fedproc.onboarding.model import report
from fedproc.onboarding.model.targets import WORK_FOLDER, BadInputError, Targets, from_settings, profile_of, service
from fedproc.onboarding.probes import pinned_ca
from fedproc.onboarding.profile import profile
from fedproc.onboarding.report import diagnose, page, text
from fedproc.onboarding.report.output import OutputError, show, write
from fedproc.onboarding.report.progress import Progress
from fedproc.onboarding.rules import TOPICS

USAGE, CANNOT_WRITE, INTERRUPTED = 64, 73, 130
DEFAULT_PROFILE = "d6.1"
COMMANDS = ("check", "diagnose", "profiles")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInputError(f"{message}; see '{self.prog} --help'")


def main(argv: Sequence[str] | None = None, *, program: str, installed: Path | None = None) -> int:
    """Run with these arguments (without the program's name; ``None``: the process's own) and return the exit code.

    ``installed`` is the settings file that is taken, where it is there, unless another is given.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(
            given if given[:1] and given[0] in (*COMMANDS, "-h", "--help") else ["check", *given], program, installed
        )
    except BadInputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return USAGE
    except OutputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return CANNOT_WRITE
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:  # argparse leaves so after --help
        return int(end.code or 0)


def _run(argv: list[str], program: str, installed: Path | None) -> int:
    if not hasattr(os, "fork"):
        raise BadInputError(
            "this system is not Linux: a host of the federation is a Linux machine, run the check there"
        )
    options = _parser(program).parse_args(argv)
    if options.command == "profiles":
        show(profile.text_of(options.id) if options.id else "\n".join(profile.built_in()) + "\n")
        return 0
    options.settings = options.settings or _present(installed)
    return _diagnose(options) if options.command == "diagnose" else _check(options)


def _present(installed: Path | None) -> Path | None:
    """The settings file of this host, if there is one; one that this user may not read is told, and left out."""
    if installed is None or not installed.exists():
        return None
    try:
        installed.open("rb").close()
    except OSError as error:
        print(f"{installed} is left out: {error.strerror}; run the check as root", file=sys.stderr)
        return None
    return installed


def _check(options: argparse.Namespace) -> int:
    found = _report(options)
    if options.html:
        write(options.html, page.render(found).encode())
    show(json.dumps(report.to_json(found), indent=2) + "\n" if options.json else text.render(found, _style()))
    return found.exit_code


def _diagnose(options: argparse.Namespace) -> int:
    found = _report(options)
    archive = diagnose.pack(found, options.settings, options.output)
    show(f"{archive}: packed for the helper, without secrets. Look through it before you send it.\n")
    return found.exit_code


def _report(options: argparse.Namespace) -> report.Report:
    chosen = _profile(options)
    targets = _targets(options)
    topics = _topics(options.only)
    with tempfile.TemporaryDirectory(prefix="fedproc-check-") as folder:
        targets = pinned_ca.with_pinned_ca(check.with_services(targets, chosen), Path(folder))
        probes = check.tasks(check.with_services(targets, chosen), topics or check.default_topics(targets))
        with Progress(len(probes), sys.stderr) as progress:
            return check.run(chosen, targets, topics, progress.done)


def _profile(options: argparse.Namespace) -> profile.Profile:
    """The one that is given, else that of the settings file, else D6.1's."""
    name, file = options.profile, options.profile_file
    if name is None and file is None and options.settings is not None:
        name, file = profile_of(options.settings)
    return profile.load_file(file) if file else profile.load(name or DEFAULT_PROFILE)


def _topics(only: str | None) -> tuple[str, ...]:
    topics = tuple(part.strip() for part in only.split(",")) if only else ()
    for topic in topics:
        if topic not in TOPICS:
            raise BadInputError(f"--only: there is no topic '{topic}'; use some of: {', '.join(TOPICS)}")
    return tuple(t for t in TOPICS if t in topics)


def _targets(options: argparse.Namespace) -> Targets:
    """The settings file's, with what the command line says in its place."""
    base = from_settings(options.settings) if options.settings else Targets()
    given = {
        "services": tuple(_service(entry) for entry in options.service),
        "ca_file": options.ca,
        "ca_sha256": _fingerprint(options.ca_sha256),
        "proxy": _proxy(options.proxy, options.proxy_file),
        "data_apis": tuple(options.data_api),
        "data": options.data,
        "dataset_bytes": int(options.dataset_gb * 10**9) if options.dataset_gb else None,
        "work": options.work,
        "key": options.key,
        "certificate": options.certificate,
    }
    return replace(base, **{name: value for name, value in given.items() if value})


def _proxy(address: str | None, file: Path | None) -> str | None:
    try:
        return address if file is None else stated_proxy(address, file)
    except RouteError as error:
        raise BadInputError(f"--proxy-file: {error.detail}") from error


def _service(entry: str) -> object:
    name, equals, url = entry.partition("=")
    if not equals:
        raise BadInputError(f"--service {entry}: write NAME=URL, for example api=https://api.example.org")
    return service(name, url)


def _fingerprint(text: str | None) -> str | None:
    if text is None:
        return None
    digits = text.replace(":", "").lower()
    if len(digits) != 64 or any(c not in "0123456789abcdef" for c in digits):
        raise BadInputError("--ca-sha256: write the 64 hexadecimal digits of the CA certificate's SHA-256 fingerprint")
    return digits


def _style() -> text.Style:
    terminal = sys.stdout.isatty()
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    width = min(shutil.get_terminal_size((100, 24)).columns, 120) if terminal else 100
    return text.Style(width, terminal and not os.environ.get("NO_COLOR"), encoding.startswith("utf"))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program, description="Says whether a machine can join the federation, why not, and what to do."
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    checking = commands.add_parser("check", help="check this machine (the default)")
    _common(checking)
    checking.add_argument("--json", action="store_true", help="print the report as JSON")
    checking.add_argument("--html", type=Path, metavar="FILE", help="also write the report as a page to print and file")
    packing = commands.add_parser(
        "diagnose", help="check, and pack what a helper needs into one archive, without secrets"
    )
    _common(packing)
    packing.add_argument(
        "--output", type=Path, metavar="FILE", help="the archive (.tar.gz); default: a name with host and time"
    )
    showing = commands.add_parser("profiles", help="list the profiles, or print one to start your own from")
    showing.add_argument("id", nargs="?")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what is asked")
    choice = what.add_mutually_exclusive_group()
    choice.add_argument(
        "--profile",
        metavar="ID",
        help=f"one of {', '.join(profile.built_in())} (default: that of --settings, else {DEFAULT_PROFILE})",
    )
    choice.add_argument("--profile-file", type=Path, metavar="FILE", help="the site's own profile")
    what.add_argument("--only", metavar="TOPICS", help=f"some of {', '.join(TOPICS)}, with commas")
    centre = parser.add_argument_group("the centre")
    centre.add_argument(
        "--service", action="append", default=[], metavar="NAME=URL", help="https://… or amqps://…; again for each"
    )
    centre.add_argument("--ca", type=Path, metavar="FILE", help="the CA that signs the centre's certificates")
    centre.add_argument(
        "--ca-sha256", metavar="HEX", help="that CA's fingerprint, as the centre told it by a second way"
    )
    centre.add_argument("--proxy", metavar="URL", help="http://host:port; default: HTTPS_PROXY, less NO_PROXY")
    centre.add_argument(
        "--proxy-file", type=Path, metavar="FILE", help="instead: a file (0600) with http://user:password@host:port"
    )
    _site_options(parser.add_argument_group("this site"))


def _site_options(site: argparse._ArgumentGroup) -> None:
    site.add_argument(
        "--settings", type=Path, metavar="FILE", help="the host's settings: takes addresses, key and folders from it"
    )
    site.add_argument("--data-api", action="append", default=[], metavar="PLACE", help="URL or folder; again for each")
    site.add_argument("--data", type=Path, metavar="FOLDER", help="where the datasets lie or will lie")
    site.add_argument("--dataset-gb", type=_positive, metavar="GB", help="size of all datasets of this host")
    site.add_argument("--work", type=Path, metavar="FOLDER", help=f"where jobs are kept (default {WORK_FOLDER})")
    site.add_argument("--key", type=Path, metavar="FILE", help="the host's private key")
    site.add_argument("--certificate", type=Path, metavar="FILE", help="the host's certificate")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError("write a number above 0")
    return value
