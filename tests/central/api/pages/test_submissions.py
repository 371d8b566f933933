"""Tools that were sent in, in the pages of their provider and of who decides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.central.api.test_submissions import new_version, send
from tests.support.central_api import Federation

pytestmark = pytest.mark.server


@contextmanager
def signed_in(dashboard: Federation, *who: str) -> Iterator[httpx.Client]:
    dashboard.issuer.signs_in = who
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=60, trust_env=False) as client:
        client.get("/dashboard/sign-in")
        yield client


def test_a_reviewer_decides_in_the_browser_and_the_provider_sees_it(dashboard: Federation, tmp_path: Path) -> None:
    with dashboard.user("pia") as pia:
        path = f"/dashboard/submissions/{send(pia, new_version(tmp_path, '8.0.0')).json()['id']}"
    with signed_in(dashboard, "olga", "operator") as olga, signed_in(dashboard, "pia", "researcher") as provider:
        assert "count 8.0.0" in olga.get("/dashboard/submissions?state=waits").text
        assert "What the check found" in olga.get(path).text
        assert "Refuse it" not in provider.get(path).text
        assert re.search(r'<textarea name="text"[^>]* required>', olga.get(path).text)  # to refuse; not to approve
        assert 'value="approve" formnovalidate' in olga.get(path).text
        token = re.findall(r'name="form_token" value="([0-9a-f]{64})"', olga.get(path).text)[0]
        form = {"form_token": token, "decision": "refuse", "text": "say what <b>leaves</b>"}
        assert "refused" in olga.post(path + "/decision", data=form).text
        seen = provider.get(path).text
        assert "say what &lt;b&gt;leaves&lt;/b&gt;" in seen
        assert provider.get("/dashboard/submissions?state=x").status_code == 422
        mine = re.findall(r'name="form_token" value="([0-9a-f]{64})"', seen)[0]
        assert provider.post(path + "/decision", data={**form, "form_token": mine}).status_code == 403
