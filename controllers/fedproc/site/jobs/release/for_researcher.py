"""A released file on its way to its researcher alone: encrypted once, sent once, whatever is restarted."""

from __future__ import annotations

from pathlib import Path

from fedproc.common.files import replacing, sha256_of
from fedproc.common.tasks import StopFlag
from fedproc.contract.api.files import NewUpload
from fedproc.contract.wire.crypt4gh import MEDIA_TYPE, encrypt_file
from fedproc.contract.wire.messages import JobOrder
from fedproc.site.jobs.artefacts import Parcel, changed

_PLACE = "researcher"
"""beside the hosts that get artefacts, whose names are in capitals"""


class ForResearcher(Parcel):
    """One sealed file, for the owner of the order's public key. Methods block; call them in a thread."""

    def __init__(self, root: Path, path: str, order: JobOrder) -> None:
        super().__init__(root, path, _PLACE)
        self._key = order.encrypt_to or ""

    def sha256(self) -> str:
        """Of what goes."""
        return sha256_of(self.encrypted)

    def described(self, new: NewUpload, digest: str) -> NewUpload:
        """What is announced: also the hash that was decided about."""
        return new.model_copy(update={"plain_sha256": digest, "media_type": MEDIA_TYPE})

    def encrypt_once(self, source: Path, digest: str, flag: StopFlag | None = None) -> None:
        """Have ``encrypted`` hold ``source``, whose sha256 is ``digest``. Raises :class:`SystemFaultError`."""
        if self.encrypted.exists():
            return
        self.encrypted.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.encrypted) as partial:
            if encrypt_file(source, partial, self._key, (flag or StopFlag()).check) != digest:
                raise changed(source.name)
