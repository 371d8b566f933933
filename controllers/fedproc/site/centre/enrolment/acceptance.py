"""A host's own acceptance: it asks the centre for one real experiment on itself, and waits for its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx

from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.contract.api.hosts import AcceptanceView
from fedproc.contract.states import ENDED
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.identity import Identity, tls_context
from fedproc.site.settings import SiteSettings

_PAUSE = 1.0
_LATER = {409, 429, 500, 502, 503, 504}

Tell = Callable[[str], None]


class NotAcceptedError(FedprocError):
    """The acceptance did not succeed in time; ``view`` is how it stands."""

    def __init__(self, text: str, view: AcceptanceView | None) -> None:
        super().__init__(text)
        self.view = view


def accept(settings: SiteSettings, wait: float, tell: Tell) -> AcceptanceView:
    """Run the acceptance of the host of these settings, for ``wait`` seconds at most; ``tell`` hears how it goes.

    Raises :class:`NotAcceptedError` that says what is not right, and :class:`UnavailableError` if the centre does not
    answer.
    """
    return asyncio.run(_accept(settings, wait, tell))


async def _accept(settings: SiteSettings, wait: float, tell: Tell) -> AcceptanceView:
    context = tls_context(settings.centre.ca_file)
    async with ProxyConnector.from_settings(settings.centre).http_client(context, httpx.Timeout(30)) as http:
        acceptance = _Acceptance(settings, Identity(settings, http), http, tell)
        return await acceptance.run(time.monotonic() + wait)


class _Acceptance:
    def __init__(self, settings: SiteSettings, identity: Identity, http: httpx.AsyncClient, tell: Tell) -> None:
        self._url = f"{settings.centre.api_url.rstrip('/')}/hosts/{settings.host}/acceptance"
        self._host = settings.host
        self._identity = identity
        self._http = http
        self._tell = tell
        self._told = ""

    async def run(self, until: float) -> AcceptanceView:
        view = await self._ask("POST", until)
        while (experiment := view.experiment) is not None and experiment.state not in ENDED:
            self._say(", ".join(f"{job.task} {job.state}" for job in experiment.jobs))
            if time.monotonic() > until:
                raise NotAcceptedError(f"{self._host}: its acceptance {experiment.id} has not ended yet", view)
            await asyncio.sleep(_PAUSE)
            view = await self._ask("GET", until)
        return self._judged(view)

    def _judged(self, view: AcceptanceView) -> AcceptanceView:
        experiment = view.experiment
        if experiment is not None and experiment.state == "succeeded":
            return view
        findings = [found for found in (view.report or {}).get("findings", []) if not found.get("ok")]
        wrong = [f"{found['check']}: expected {found['expected']}, found {found['found']}" for found in findings]
        ends = [f"{job.state}: {job.reason}" for job in experiment.jobs] if experiment else []
        raise NotAcceptedError(f"{self._host} is not accepted: {'; '.join(wrong or ends)}", view)

    async def _ask(self, method: str, until: float) -> AcceptanceView:
        """Asks again while the centre does not answer, or has not heard of this host yet."""
        while True:
            try:
                return await self._asked(method)
            except UnavailableError as fault:
                if time.monotonic() > until:
                    raise
                self._say(fault.message)
            await asyncio.sleep(_PAUSE)

    async def _asked(self, method: str) -> AcceptanceView:
        headers = {"Authorization": f"Bearer {await self._identity.token()}"}
        try:
            answer = await self._http.request(method, self._url, headers=headers)
        except httpx.HTTPError as fault:
            raise UnavailableError(f"the API does not answer: {fault or type(fault).__name__}") from fault
        if answer.status_code in _LATER:
            raise UnavailableError(f"the API: {_detail(answer)}")
        if answer.status_code >= 400:
            raise FedprocError(f"the API refuses the acceptance: {_detail(answer)}")
        return AcceptanceView.model_validate_json(answer.content)

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._tell(text)


def _detail(answer: httpx.Response) -> str:
    try:
        said: Any = answer.json()
        return str(said["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
