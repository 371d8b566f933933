"""Who may read and write the store of images and packages: the gateway asks here before it lets a request on.

204 admits, 401 and 403 do not. What is asked for is not said here: the gateway asks one question for requests that
read, and the other for all else.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from fedproc.central.api.deps import Bearer, token_or_password
from fedproc.central.api.routes.common import router
from fedproc.central.auth.tokens import Caller
from fedproc.common.errors import ForbiddenError, NotAuthenticatedError

routes = router("store")

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="fedproc store", charset="UTF-8"'}


class _StoreCaller(Bearer):
    """Asks for HTTP Basic where no token was sent, which is what engines and pip answer to."""

    async def __call__(self, request: Request) -> Caller:
        try:
            return await super().__call__(request)
        except NotAuthenticatedError as error:
            error.detail["headers"] = _CHALLENGE
            raise


_Reader = Annotated[Caller, Depends(_StoreCaller("any", read=token_or_password))]
_Writer = Annotated[Caller, Depends(_StoreCaller("operator", read=token_or_password))]


@routes.get("/store/access/read", status_code=204, response_class=Response, include_in_schema=False)
def may_read(caller: _Reader) -> Response:
    """Active hosts read, and operators."""
    if caller.host is None and not caller.operates:
        raise ForbiddenError(
            "the store is read by hosts and operators; tools are run by their names", code="forbidden.role"
        )
    return Response(status_code=204)


@routes.get("/store/access/write", status_code=204, response_class=Response, include_in_schema=False)
def may_write(caller: _Writer) -> Response:
    """Operators write."""
    return Response(status_code=204)
