"""The federation's registry of images and packages, as a host uses it: with its own token, through the gateway."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from fedproc.catalog.oci import Blobs, Image, ImageError, for_engine
from fedproc.catalog.offline import Archive
from fedproc.catalog.registry import Registry, Token, of_this_machine, split
from fedproc.common.tls import client_context
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.identity import Identity
from fedproc.site.settings import RegistrySettings, SiteSettings

_READ_SECONDS = 120


def token_source(identity: Identity) -> Token:
    """The host's token for work in threads; made while the loop runs that the identity belongs to."""
    loop = asyncio.get_running_loop()

    def token(fresh: bool) -> str:
        return asyncio.run_coroutine_threadsafe(identity.token(fresh), loop).result()

    return token


def make_registry(settings: SiteSettings, identity: Identity) -> SiteRegistry | None:
    """The artefact registry that the settings name, if they do; call it in the identity's loop."""
    if settings.store is None:
        return None
    token = token_source(identity)
    ca_file, folder = settings.centre.ca_file, settings.state / "images"
    egress = ProxyConnector.from_settings(settings.centre)
    return SiteRegistry(settings.store, ca_file, folder, identity.client_id, token, egress)


def name_in_engine(reference: str) -> str:
    """By what name an engine has an image of the registry: one that was loaded is not known by its digest there."""
    name, _, digest = reference.partition("@")
    return f"{name}:{digest.removeprefix('sha256:')[:32]}"


class SiteRegistry:
    """Calls block: they are made in threads. What was fetched is kept below ``folder``, images in bounds."""

    def __init__(
        self,
        settings: RegistrySettings,
        ca_file: Path | None,
        folder: Path,
        client_id: str,
        token: Token,
        egress: ProxyConnector | None = None,
    ) -> None:
        self._egress = egress or ProxyConnector()
        http = self._egress.sync_http_client("", client_context(ca_file), httpx.Timeout(_READ_SECONDS, connect=10))
        self._settings = settings
        self._ca_file = ca_file
        self._client_id = client_id
        self._token = token
        self._registry = Registry(settings.name, settings.address, token, http)
        self.manifests = Blobs(folder / "manifests")
        self.blobs = Blobs(folder / "blobs")

    def holds(self, reference: str) -> bool:
        """Whether this image is one of the registry's."""
        return split(reference)[0] == self._settings.name

    def image(self, reference: str) -> Image:
        """Its manifest, checked against the digest; kept for the next time."""
        _, repository, digest = split(reference)
        return self._registry.image(repository, digest, self.manifests)

    def ingest(self, reference: str, archive: Archive) -> None:
        """Take the image from an offline archive instead; all of it is checked against the reference's digest."""
        digest: str | None = split(reference)[2]
        while digest is not None:
            archive.extract_blob("manifests", digest, self.manifests)
            digest = of_this_machine(self.manifests.read(digest) or b"")
        for blob in self.image(reference).blobs:
            archive.extract_blob("blobs", blob.digest, self.blobs)

    def fetch(self, reference: str, image: Image) -> None:
        """Fetch what is not here of the image. Raises :class:`ImageError` if the disk has no room for it."""
        lacking = sum(blob.size for blob in image.blobs if not self.blobs.has(blob))
        self.blobs.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.blobs.folder).free
        if free < lacking:
            raise ImageError(
                f"image {reference} needs {lacking >> 20} MB at {self.blobs.folder}, and {free >> 20} MB are free: "
                "make room there, it is fetched again with the next job"
            )
        self._registry.fetch(split(reference)[1], image, self.blobs)

    def image_tar(self, reference: str, image: Image) -> Iterator[bytes]:
        """The fetched image as a tar for the engine, under :func:`name_in_engine`."""
        return for_engine(image, self.blobs, name_in_engine(reference))

    def trim(self) -> None:
        """Keep no more of fetched images than the settings say; the engine has its own copy."""
        self.blobs.trim(self._settings.keep_mb * 1_000_000)

    def index(self) -> dict[str, str]:
        """Variables for a pip of ours: the registry's index of packages, with the host's token. They are a secret."""
        url = urlsplit(self._settings.address)
        signed_in = f"{self._client_id}:{quote(self._token(False), safe='')}@{url.netloc}"
        variables = {"PIP_INDEX_URL": url._replace(netloc=signed_in, path="/simple/").geturl()}
        variables |= self._egress.environment()
        # The second goes before the first in pip, if the environment has it.
        trusted = ("PIP_CERT", "REQUESTS_CA_BUNDLE") if self._ca_file else ()
        return variables | {name: str(self._ca_file) for name in trusted}
