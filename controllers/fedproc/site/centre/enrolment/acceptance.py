"""A host's own acceptance: it asks the centre for one real experiment on itself, and waits for its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx

from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.common.http import BearerAuth, detail_of, text_of
from fedproc.common.tls import client_context
from fedproc.contract.api.hosts import AcceptanceView
from fedproc.contract.states import ENDED
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.identity import Identity
from fedproc.site.settings import SiteSettings

_PAUSE = 1.0
_LATER = {409, 429, 500, 502, 503, 504}

Notify = Callable[[str], None]


class NotAcceptedError(FedprocError):
    """The acceptance did not succeed in time; ``view`` is how it stands."""

    def __init__(self, text: str, view: AcceptanceView | None) -> None:
        super().__init__(text)
        self.view = view


def accept(settings: SiteSettings, wait: float, notify: Notify) -> AcceptanceView:
    """Run the acceptance of the host of these settings, for ``wait`` seconds at most; ``notify`` hears how it goes.

    Raises :class:`NotAcceptedError` that says what is not right, and :class:`UnavailableError` if the centre does not
    answer.
    """
    return asyncio.run(_accept(settings, wait, notify))


async def _accept(settings: SiteSettings, wait: float, notify: Notify) -> AcceptanceView:
    context = client_context(settings.centre.ca_file)
    async with ProxyConnector.from_settings(settings.centre).http_client(context, httpx.Timeout(30)) as http:
        acceptance = _Acceptance(settings, Identity(settings, http), http, notify)
        return await acceptance.run(time.monotonic() + wait)


class _Acceptance:
    def __init__(self, settings: SiteSettings, identity: Identity, http: httpx.AsyncClient, notify: Notify) -> None:
        self._url = f"{settings.centre.api_url.rstrip('/')}/hosts/{settings.host}/acceptance"
        self._host = settings.host
        self._auth = BearerAuth(identity.token)
        self._http = http
        self._notify_operator = notify
        self._last_text = ""

    async def run(self, until: float) -> AcceptanceView:
        view = await self._ask("POST", until)
        while (experiment := view.experiment) is not None and experiment.state not in ENDED:
            self._notify(", ".join(f"{job.task} {job.state}" for job in experiment.jobs))
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
            except UnavailableError as error:
                if time.monotonic() > until:
                    raise
                self._notify(error.message)
            await asyncio.sleep(_PAUSE)

    async def _asked(self, method: str) -> AcceptanceView:
        try:
            answer = await self._http.request(method, self._url, auth=self._auth)
        except httpx.HTTPError as error:
            raise UnavailableError(f"the API does not answer: {text_of(error)}") from error
        if answer.status_code in _LATER:
            raise UnavailableError(f"the API: {detail_of(answer)}")
        if answer.status_code >= 400:
            raise FedprocError(f"the API refuses the acceptance: {detail_of(answer)}")
        return AcceptanceView.model_validate_json(answer.content)

    def _notify(self, text: str) -> None:
        if text != self._last_text:
            self._last_text = text
            self._notify_operator(text)
