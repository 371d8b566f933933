"""Whatever a manifest says, it is one, or is refused by an error of ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from pydantic import ValidationError
from tests.support import sample_tools
from tests.support.anything import BYTES, DEEP, as_json, bent
from tests.support.examples import examples

from fedproc.catalog.signing import tool_digest, verify_manifest
from fedproc.common.errors import UnreadableError
from fedproc.common.keys import Signer
from fedproc.contract.tool.checks import hints
from fedproc.contract.tool.tool import Manifest, Tool
from fedproc.contract.wire.jws import MANIFEST_TYP, canonical, sign

pytestmark = pytest.mark.slow


KEY = ECKey.generate_key("P-256")
WHOLE: dict[str, Any] = sample_tools.tool(
    "whole",
    sample_tools.task(
        "server", "server", ports=[sample_tools.PORT], ready={"tcp": "grpc"}, outputs=[sample_tools.KIT],
        metrics=[{"name": "loss", "unit": "x"}], status={"file": "a.json"}, stop={"signal": "SIGINT"},
    ),
    sample_tools.task(
        "client", needs=[{"task": "server", "condition": "ready"}], connections=[sample_tools.DIAL],
        inputs=[{"name": "data", "kind": "dataset"}], environment={"A": "{parameter.n}"}, prepare=[["{python}"]],
    ),
    parameters={"type": "object", "properties": {"n": {"type": "integer", "x-scope": "host", "default": 1}}},
).model_dump(mode="json", by_alias=True)  # fmt: skip


@examples(200)
@given(bent(WHOLE))
def test_description_of_any_content_is_a_tool_or_refused(content: Any) -> None:
    try:
        tool = Tool.model_validate(content)
    except ValidationError as error:
        error.errors(include_url=False, include_input=False)
        return
    assert isinstance(tool.host_parameters(), frozenset)
    assert isinstance(hints(tool.tasks), list)
    digest_of(Manifest(tool=tool, files=()))


def digest_of(manifest: Manifest) -> str | None:
    try:
        return tool_digest(manifest)
    except ValueError:
        return None


@examples(200)
@given(
    st.one_of(
        bent({"tool": WHOLE, "files": [{"path": "a", "sha256": "0" * 64, "size": 1}]}).map(as_json),
        BYTES,
        DEEP.map(str.encode),
    )
)
def test_signed_manifest_of_any_content_is_read_or_refused(payload: bytes) -> None:
    try:
        manifest, digest = verify_manifest(sign(payload, Signer(KEY), typ=MANIFEST_TYP), {KEY.thumbprint(): KEY})
    except UnreadableError as error:
        error.message.encode()
    else:
        assert digest == tool_digest(manifest)


def test_canonical_form_of_the_whole_one_is_read() -> None:
    manifest = Manifest(tool=Tool.model_validate(WHOLE), files=())
    from fedproc.catalog.signing import canonical_content

    token = sign(canonical(canonical_content(manifest)), Signer(KEY), typ=MANIFEST_TYP)
    assert verify_manifest(token, {KEY.thumbprint(): KEY})[0] == manifest
