"""A new experiment: one form with tool, hosts and data, parameters; what is wrong stands beside its field.

An address fills the form (``/new?tool=…&dataset=…&p.rounds=10``) and never starts anything. Each form carries a key by
which sending it twice makes one experiment.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, QueryParams
from starlette.responses import RedirectResponse, Response

from fedproc.central.api.deps import app_state
from fedproc.central.api.pages import encryption_key, fields
from fedproc.central.api.pages.access import Api, Form, SignedIn, pages, typed_at
from fedproc.central.api.pages.backend import ApiError, Backend
from fedproc.central.api.pages.choices import Federation, Selector, needs_datasets, selectors, unfit, unfit_tools
from fedproc.central.api.pages.datasets import GRANT_SECONDS
from fedproc.central.api.pages.formatting import in_pages
from fedproc.central.api.pages.rendering import page, query, segment
from fedproc.central.auth.sessions import Session
from fedproc.central.grants.answers import Finding
from fedproc.central.grants.views import obstacles, terms_told
from fedproc.contract.api.dry_run import DryRun
from fedproc.contract.api.experiments import ExperimentView, Page
from fedproc.contract.api.hosts import DatasetView, HostView
from fedproc.contract.api.tools import TaskView, ToolSummary, ToolView
from fedproc.contract.ids import DATASET_PATTERN

routes = pages()

_TEXTS = ("label", "project", "permit", "purpose")
_FEW = 12
"""hosts for which the form asks what may differ there before they are chosen"""
_MOST_DATASETS = 300
"""for which the form shows all of them; else those that are chosen, and where the others are found"""
_LONGEST_ADDRESS = 8_000
_NOT_HERE = "there is none of this name here, or the tool takes none"
_MISSING = re.compile(r"^'([^']+)' is missing")
_KEY = re.compile(r"^[A-Za-z0-9_-]{16,64}$")


@dataclass(frozen=True)
class Draft:
    """What a form holds; ``parameters`` and ``host_parameters`` as they were typed."""

    tool: str = ""
    version: str = ""
    datasets: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    host_parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    encrypt_to: str = ""


def draft_of(given: FormData | QueryParams) -> Draft:
    """From an address or a form: ``tool``, ``dataset`` and ``host`` (several), ``p.NAME``, ``hp.HOST.NAME``."""
    pairs = [(name, str(value)) for name, value in given.multi_items()]
    by_host: dict[str, dict[str, str]] = {}
    for name, value in pairs:
        if name.startswith("hp.") and name.count(".") >= 2 and value.strip():
            host, parameter = name.removeprefix("hp.").split(".", 1)
            by_host.setdefault(host, {})[parameter] = value
    single = dict(pairs)
    return Draft(
        tool=single.get("tool", "")[:64],
        version=single.get("version", "")[:64],
        datasets=_each(pairs, "dataset"),
        hosts=_each(pairs, "host"),
        parameters={name.removeprefix("p."): value for name, value in pairs if name.startswith("p.")},
        host_parameters=by_host,
        texts={name: single.get(name, "") for name in _TEXTS},
        key=single.get("key", "") if _KEY.match(single.get("key", "")) else _new_key(),
        encrypt_to=encryption_key.as_sent(single.get("encrypt_to", "")),
    )


def address_of(draft: Draft) -> str:
    """The address that fills the form so; empty where it would be too long for a browser.

    It has no key to which results are encrypted, and says that one has to be given again.
    """
    own = {f"p.{name}": value for name, value in draft.parameters.items()}
    by_host = {
        f"hp.{host}.{name}": text for host, given in draft.host_parameters.items() for name, text in given.items()
    }
    chosen = {"tool": draft.tool, "version": draft.version, "dataset": draft.datasets, "host": draft.hosts}
    again = {"key_again": "yes" if draft.encrypt_to else ""}
    address = f"/dashboard/new?{query(**chosen, **own, **by_host, **draft.texts, **again)}"
    return address if len(address) <= _LONGEST_ADDRESS else ""


def _new_key() -> str:
    """An address brings none: whoever made a link would choose which experiment its form leads to."""
    return secrets.token_urlsafe(24)


def _each(pairs: Iterable[tuple[str, str]], wanted: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for name, value in pairs if name == wanted and value))


@routes.get("/new")
async def lead_to_form(request: Request) -> Response:
    """The short address of the form, for links from elsewhere."""
    return RedirectResponse(f"/dashboard/new?{request.url.query}", 307)


@routes.get("/dashboard/new")
async def show_form(request: Request, api: Api, session: SignedIn) -> Response:
    """The form, filled by its address or by an earlier experiment (``from``)."""
    # nor the key of somebody else, to whom the results would be encrypted
    draft = replace(draft_of(request.query_params), key=_new_key(), encrypt_to="")
    if earlier := request.query_params.get("from"):
        draft = await _again(api, earlier, draft.key)
    return await _form(request, api, session, draft)


async def _again(api: Backend, experiment: str, key: str) -> Draft:
    before = await api.one(ExperimentView, f"/experiments/{segment(experiment)}")
    schema = (await api.one(ToolView, f"/tools/{before.tool}", version=before.version)).parameters
    hosts = {job.host for job in before.jobs} - {dataset.partition(":")[0] for dataset in before.datasets}
    by_host = {host: fields.texts(schema, values) for host, values in before.host_parameters.items()}
    # what a grant said then it says anew
    texts = {name: "" if name in (before.told_by or {}) else getattr(before, name) or "" for name in _TEXTS}
    return Draft(
        before.tool, before.version, tuple(before.datasets), tuple(sorted(hosts)),
        fields.texts(schema, before.parameters), by_host, texts, key, before.encrypt_to or "",
    )  # fmt: skip


@routes.post("/dashboard/new", dependencies=[typed_at(lambda form: address_of(draft_of(form)))])
async def start(request: Request, api: Api, session: SignedIn, form: Form) -> Response:
    """Start it; sent again, the same form leads to the same experiment. With ``dry``: say what would come of it."""
    draft = draft_of(form)
    tool = await api.one(ToolView, f"/tools/{segment(draft.tool)}", version=draft.version)
    known = {host.id for host in await api.many(HostView, "/hosts/")} if draft.host_parameters else set[str]()
    body, wrong = await run_in_threadpool(_request, tool, draft, known)
    if wrong:
        wrong = await _of_the_rest(api, tool, body) | wrong
        return await _form(request, api, session, draft, wrong, 422)
    try:
        if form.get("dry"):
            found = await api.send("POST", "/experiments/dry-run", body=body)
            forecast = DryRun.model_validate_json(found.content)
            return await _form(request, api, session, draft, forecast=forecast)
        body |= {"prepare": True} if form.get("prepare") else {}
        answer = await api.send("POST", "/experiments", body=body, headers={"Idempotency-Key": draft.key})
    except ApiError as error:
        if error.status == 401:
            raise
        return await _form(request, api, session, draft, _placed(error, tool), error.status)
    return RedirectResponse(f"/dashboard/experiments/{answer.json()['id']}", 303)


async def _of_the_rest(api: Backend, tool: ToolView, body: dict[str, Any]) -> dict[str, str]:
    """What the API finds wrong with what could be read of a form, so that all faults are told at once."""
    try:
        await api.send("POST", "/experiments/dry-run", body=body)
    except ApiError as error:
        if error.status == 401:
            raise
        return _placed(error, tool) if error.errors else {}
    return {}


def _request(tool: ToolView, draft: Draft, known: Set[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The body of ``POST /experiments``, and what is wrong by field; ``known`` are the hosts that there are."""
    parameters, wrong = fields.read(fields.fields(tool.parameters, {}), draft.parameters)
    problems = {f"p.{name}": text for name, text in wrong.items()}
    by_host, wrong = _by_host(tool, draft, known)
    hosts = list(dict.fromkeys([*draft.hosts, *(dataset.partition(":")[0] for dataset in draft.datasets)]))
    problems |= wrong
    texts = {name: text.strip() for name, text in draft.texts.items() if text.strip()}
    body = {
        "tool": tool.id,
        "version": tool.version,
        "datasets": list(draft.datasets),
        "hosts": hosts if draft.hosts else [],
        "parameters": parameters,
        "host_parameters": {host: values for host, values in by_host.items() if values},
        **texts,
    }
    if wrong_key := encryption_key.problem_of(draft.encrypt_to):
        problems["encrypt_to"] = wrong_key
    elif draft.encrypt_to:
        body["encrypt_to"] = draft.encrypt_to
    return body, problems


def _by_host(tool: ToolView, draft: Draft, known: Set[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What differs by host: there the default is a value as any other, since all hosts may have another."""
    asked = fields.fields(fields.without_defaults(tool.parameters), {})
    by_host: dict[str, dict[str, Any]] = {}
    problems: dict[str, str] = {}
    for host, given in draft.host_parameters.items():
        if host not in known:
            continue
        by_host[host], wrong = fields.read(asked, given)
        problems |= {f"hp.{host}.{name}": text for name, text in wrong.items()}
    if unknown := sorted(draft.host_parameters.keys() - known):
        problems["where"] = f"parameters are given for {', '.join(unknown[:5])[:200]}, which is no host here"
    return by_host, problems


def _placed(error: ApiError, tool: ToolView) -> dict[str, str]:
    """Each fault at its field; what has none stands at the top (the empty name)."""
    found: dict[str, list[str]] = {}
    for entry in error.errors:
        where, what = str(entry.get("where", "")), str(entry.get("what", ""))
        place = _place(where.removeprefix("body."), what, tool)
        what = what.removeprefix(f"{place.rpartition('.')[2]!r} ")  # which stands beside its field
        cure = _typed(place, tool) if place.startswith(("p.", "hp.")) else in_pages(str(entry.get("cure", "")))
        found.setdefault(place, []).append(f"{what} ({cure})" if cure else what)
    if not found:
        found[""] = [error.shown]
    return {place: "; ".join(texts) for place, texts in found.items()}


def _typed(place: str, tool: ToolView) -> str:
    """An example for a parameter, as one types it in the form."""
    name = place.rpartition(".")[2]
    found = next((each.example for each in fields.fields(tool.parameters, {}) if each.name == name), "")
    return f"for example {found}" if found else ""


def _place(where: str, what: str, tool: ToolView) -> str:
    top, _, rest = where.partition(".")
    missing, properties = _MISSING.match(what), tool.parameters.get("properties", {})
    if top == "parameters":
        name = missing[1] if missing and not rest else rest.partition(".")[0]
        return f"p.{name}" if name in properties else ""
    if top == "host_parameters":
        host, _, inner = rest.partition(".")
        name = inner.partition(".")[0] or (missing[1] if missing else "")
        own = properties.get(name, {}).get("x-scope") == "host"
        return f"hp.{host}.{name}" if own else f"p.{name}" if name in properties else ""
    return {"hosts": "where", "datasets": "where"}.get(top, top if top in {"tool", "encrypt_to", *_TEXTS} else "")


async def _form(
    request: Request,
    api: Backend,
    session: Session,
    draft: Draft,
    wrong: Mapping[str, str] | None = None,
    status: int = 200,
    forecast: DryRun | None = None,
) -> Response:
    settings = app_state(request).settings
    values: dict[str, Any] = {"draft": draft, "wrong": dict(wrong or {}), "tool": None, "forecast": forecast}
    values["address"] = address_of(draft) if request.method == "POST" else ""
    values["key_again"] = request.method == "GET" and request.query_params.get("key_again") == "yes"
    values["encrypt_to"] = encryption_key.shown(draft.encrypt_to)
    values["tools"] = await api.many(ToolSummary, "/tools")
    values["unable"] = await _unable(api, draft) if draft.datasets and not draft.tool else {}
    opened = await api.one(Page, "/experiments", state=["queued", "running"], mine=True, count=True, limit=1)
    most = settings.quota_of(session.subject).open_experiments
    values["spent"] = (opened.total, most) if (opened.total or 0) >= most else None
    if draft.tool:
        values |= await _of_tool(api, draft, values["wrong"], settings.aggregator)
        findings = await _findings(request, session, values.get("selectors", ()))
        values["ungranted"] = obstacles(findings) | values.get("unfit", {})
        values["left_out"] = left_out(draft, values.get("selectors", ()), values["ungranted"])
        values["granted"] = terms_told(findings[each] for each in draft.datasets if each in findings)
        values["ask_at"] = {each: app_state(request).grant_checks.ask_at(each) for each in values["ungranted"]}
    return await run_in_threadpool(page, request, "new.html", values, status)


async def _unable(api: Backend, draft: Draft) -> dict[str, str]:
    """Of the tools that cannot read the chosen datasets: why."""
    chosen = [each for each in draft.datasets if re.fullmatch(DATASET_PATTERN, each)][:_MOST_DATASETS]
    offered = await api.many(DatasetView, "/datasets", id=chosen) if chosen else []
    return unfit_tools(await api.many(TaskView, "/tools/tasks"), offered)


async def _of_tool(api: Backend, draft: Draft, wrong: dict[str, str], aggregator: str) -> dict[str, Any]:
    """What the form asks once the tool is known; a tool that there is not is a fault of its field."""
    try:
        tool = await api.one(ToolView, f"/tools/{segment(draft.tool)}", version=draft.version)
    except ApiError as error:
        wrong["tool"] = error.shown
        return {}
    tasks = await api.many(TaskView, "/tools/tasks", tool=tool.id, version=tool.version)
    there, hidden = await _federation(api, draft, tasks, aggregator)
    found = selectors(tool, tasks, there, draft.hosts, draft.datasets)
    amiss = unfit(tasks, there.datasets)
    able = [choice for each in found if each.takes != "nothing" for choice in each.choices if not choice.obstacle]
    asked = fields.fields(fields.without_defaults(tool.parameters), {}, by_host=True)
    shown = [choice.host for choice in able if choice.chosen or len(able) <= _FEW]
    return {
        "tool": tool,
        "selectors": found,
        "hidden": hidden,
        "fields": fields.fields(tool.parameters, draft.parameters),
        "host_fields": {host: fields.filled(asked, draft.host_parameters.get(host, {})) for host in shown},
        "unfit": amiss,
    }


async def _federation(api: Backend, draft: Draft, tasks: Sequence[TaskView], aggregator: str) -> tuple[Federation, int]:
    """What can be chosen from, and how many datasets are not shown."""
    total = await api.count("/datasets")
    if total <= _MOST_DATASETS:
        everyone = await api.many(HostView, "/hosts/", brief=True)
        return Federation(everyone, await api.many(DatasetView, "/datasets"), aggregator), 0
    chosen = [each for each in draft.datasets if re.fullmatch(DATASET_PATTERN, each)][:_MOST_DATASETS]
    shown = await api.many(DatasetView, "/datasets", id=chosen) if chosen else []
    only = sorted({aggregator, *(each.host for each in shown)}) if needs_datasets(tasks) else []
    there = await api.many(HostView, "/hosts/", brief=True, id=only)
    return Federation(there, shown, aggregator, is_whole=False), total - len(shown)


async def _findings(request: Request, session: Session, found: Iterable[Selector]) -> dict[str, Finding]:
    """Of the guarded datasets that are shown: what is said of whether its reader may use it."""
    shown = {each.id for selector in found for choice in selector.choices for each, _ in choice.datasets}
    checks, token = app_state(request).grant_checks, session.tokens.access
    return await checks.ask_now(session.subject, token, sorted(shown), GRANT_SECONDS)


def left_out(draft: Draft, found: Iterable[Selector], refused: Mapping[str, str]) -> dict[str, str]:
    """Of the hosts and datasets that the draft names, those that the form does not tick: why not."""
    able, unable = set[str](), dict[str, str]()
    for choice in (choice for each in found for choice in each.choices):
        own = [choice.host, *(dataset.id for dataset, _ in choice.datasets)]
        if choice.obstacle:
            unable |= dict.fromkeys(own, f"{choice.host}: {choice.obstacle}")
        else:
            able.update(each for each in own if not refused.get(each))
    reasons = unable | {name: reason for name, reason in refused.items() if reason and name not in unable}
    missing = sorted({*draft.datasets, *draft.hosts} - able)
    return {name: reasons.get(name, _NOT_HERE) for name in missing}
