"""The central API as an application, and the program that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.middleware import Middleware

from fedproc.central.api import cors, problems
from fedproc.central.api.audit import AuditLog
from fedproc.central.api.deps import AppState
from fedproc.central.api.metrics import Metrics
from fedproc.central.api.middleware import RequestMiddleware
from fedproc.central.api.pages import assets, nowhere, sign_in, wizard
from fedproc.central.api.pages import datasets as datasets_page
from fedproc.central.api.pages import experiments as experiments_page
from fedproc.central.api.pages import files as files_page
from fedproc.central.api.pages import home as home_page
from fedproc.central.api.pages import hosts as hosts_page
from fedproc.central.api.pages import live as live_page
from fedproc.central.api.pages import operate as operate_page
from fedproc.central.api.pages import saved as saved_page
from fedproc.central.api.pages import submissions as submissions_page
from fedproc.central.api.pages import tools as tools_page
from fedproc.central.api.rates import Rates
from fedproc.central.api.recent import Recent
from fedproc.central.api.routes import (
    acceptance,
    data,
    datasets,
    dry_run,
    enrolments,
    events,
    experiments,
    grants,
    hosts,
    registry,
    retention,
    submissions,
    system,
    tasks,
    token,
    tools,
    uploads,
)
from fedproc.central.api.streams import Streams
from fedproc.central.auth.issuer import Issuer
from fedproc.central.auth.sessions import Sessions
from fedproc.central.auth.tokens import Verifier
from fedproc.central.db import migrate
from fedproc.central.db.engine import connect
from fedproc.central.experiments.quotas import Quotas
from fedproc.central.experiments.submission import Submissions
from fedproc.central.files.blobs import Blobs
from fedproc.central.files.inputs import Inputs
from fedproc.central.files.signed_urls import SignedUrls
from fedproc.central.files.uploads import Uploads
from fedproc.central.grants.checks import GrantChecks
from fedproc.central.grants.delegations import Delegations
from fedproc.central.grants.service import Grants
from fedproc.central.notify import notifier_for
from fedproc.central.settings import CentralSettings, load
from fedproc.central.tlog.witness import LogReader
from fedproc.common.garbage import keep_what_is_loaded
from fedproc.common.keys import read_keys
from fedproc.common.log import get_logger, log_json
from fedproc.common.tasks import watched

log = get_logger(__name__)

_GRACE_SECONDS = 20
_MODULES = (
    tasks, experiments, dry_run, events, uploads, data, hosts, datasets, grants, acceptance, enrolments, tools,
    submissions, registry, token, retention, system,
)  # fmt: skip
_PAGES = (assets, sign_in, home_page, hosts_page, experiments_page, saved_page, live_page, datasets_page,
    tools_page, submissions_page, wizard, files_page, operate_page, nowhere,
)  # fmt: skip


def create_app(settings: CentralSettings) -> FastAPI:
    """The API on an opened and current database. Raises :class:`InvalidInputError` that names a wrong setting."""
    state = _app_state(settings)
    audit_log = AuditLog(state.engine)
    app = FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan,
        middleware=[
            *cors.layers(settings.cors_origins),
            Middleware(RequestMiddleware, audit_log=audit_log, metrics=state.metrics),
        ],
    )
    app.state.fedproc = state
    problems.install(app)
    return routed(app)


def routed(app: FastAPI) -> FastAPI:
    """Put the endpoints on the application: directly, since a router inside is matched twice for each request."""
    for module in (*_MODULES, *_PAGES):
        app.router.routes.extend(module.routes.routes)
    return app


def _app_state(settings: CentralSettings) -> AppState:
    engine = connect(settings.database)
    migrate.ready(engine)
    notifier, metrics, issuer = notifier_for(engine, settings.runtime), Metrics(), Issuer(settings.issuer)
    blobs, quotas, verifier = Blobs(settings.files), Quotas(settings), Verifier(issuer)
    return AppState(
        settings=settings,
        engine=engine,
        notifier=notifier,
        issuer=issuer,
        verifier=verifier,
        blobs=blobs,
        uploads=Uploads(engine, blobs, settings.max_upload_mb, quotas),
        inputs=Inputs(engine, blobs, notifier, quotas),
        submissions=Submissions(engine, settings, notifier),
        grant_checks=GrantChecks(Grants(settings.grants), Delegations(engine, issuer), settings.issuer.url),
        signed_urls=SignedUrls(blobs.folder),
        rates=Rates(lambda user: settings.quota_of(user).requests_per_minute),
        metrics=metrics,
        streams=Streams(notifier, metrics, engine),
        sessions=Sessions(engine, issuer, verifier, settings.session_hours),
        tlog=LogReader(settings),
        health=Recent(settings.health_seconds),
        dataset_filters=Recent(30.0),
        catalogue_keys=read_keys(settings.catalogue_keys, "catalogue_keys"),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: AppState = app.state.fedproc
    listener = watched(asyncio.create_task(state.streams.run()), "streams.ended")
    try:
        yield
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await state.grant_checks.close()
        await state.issuer.close()
        state.engine.dispose()


class _Server(uvicorn.Server):
    """Ends the event streams when asked to stop, since it would wait for them else."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app: FastAPI = self.config.app  # type: ignore[assignment]
        app.state.fedproc.streams.end()
        super().handle_exit(sig, frame)


def serve(path: Path) -> None:
    """Run the API with the settings in ``path`` until SIGTERM or SIGINT; requests under way are finished."""
    settings = load(path)
    log_json(settings.log_level, program="api")
    config = uvicorn.Config(
        create_app(settings),
        host=settings.listen_host,
        port=settings.listen_port,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    keep_what_is_loaded()
    log.info("api.started", address=f"{settings.listen_host}:{settings.listen_port}")
    _Server(config).run()
