"""What an experiment would come to, before it is started."""

from __future__ import annotations

import time

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api.deps import Researcher, app_state, audit_event, bearer_token
from fedproc.central.api.routes.common import answer, router
from fedproc.central.experiments.forecast import forecast
from fedproc.central.experiments.granted import Granted
from fedproc.central.grants.projects import TERMS
from fedproc.contract.api.dry_run import DryRun
from fedproc.contract.api.experiments import ExperimentRequest

routes = router("experiments")


@routes.post("/experiments/dry-run", response_model=DryRun)
async def dry_run(request: Request, body: ExperimentRequest, caller: Researcher) -> Response:
    """Check all that starting it would check, and say what each host would do with its outputs. Starts nothing."""
    app = app_state(request)
    audit_event(request).is_action = False
    found = await run_in_threadpool(app.submissions.dry_run, caller, body)
    granted = Granted()
    if guarded := app.grant_checks.guarded(body.datasets):
        stated = {term: getattr(body, term) for term in TERMS}
        granted = Granted(await app.grant_checks.asked(caller.sub, bearer_token(request), guarded, stated))
    return answer(forecast(found, granted, caller.sub, time.time() - app.heartbeat_timeout))
