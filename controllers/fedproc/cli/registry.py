"""The store and the catalogue as a signed-in operator uses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from fedproc.client.api import Client
from fedproc.client.session import authority
from fedproc.client.transport import ApiError
from fedproc.common.errors import ConflictError, UnreadableError
from fedproc.contract.tool.tool import Manifest

if TYPE_CHECKING:
    from fedproc.catalog.registry import Registry
    from fedproc.common.keys import Signer


@contextmanager
def store_of(client: Client, name: str, url: str | None) -> Iterator[Registry]:
    """The store, with the client's token."""
    from fedproc.catalog.registry import Registry

    with httpx.Client(verify=authority() or True, timeout=httpx.Timeout(300, connect=10)) as http:
        yield Registry(name, url or f"https://{name}", lambda fresh: client.access_token(fresh=fresh), http)


def published(client: Client, manifest: Manifest, signer: Signer) -> Manifest | None:
    """What the catalogue has of this id and version, if it is this very tool; its images may have been added.

    Raises :class:`ConflictError` if it is another, or was signed by another key.
    """
    from fedproc.catalog.naming import is_published_as
    from fedproc.catalog.signing import verify_manifest

    tool = manifest.tool
    try:
        found, _ = verify_manifest(client.manifest(tool.id, tool.version), signer.trusted)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    except UnreadableError as error:
        raise ConflictError(f"{tool.id} {tool.version} was published with another key; raise its version") from error
    if not is_published_as(manifest, found):
        raise ConflictError(f"{tool.id} {tool.version} is in the catalogue with other content; raise its version")
    return found
