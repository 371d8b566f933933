"""The device files of GPUs, from NVIDIA's driver, which may hang."""

from __future__ import annotations

import asyncio

from fedproc.common.tasks import SingleFlight, in_own_thread
from fedproc.site.executors.base import ExecutorError

DRIVER_SECONDS = 20.0
"""A driver that works answers within a second, or two when it was just loaded."""


class GpuNodes:
    """Asks NVML in threads of their own, one for each set of GPUs: one that hangs stays, and is not joined by more."""

    def __init__(self) -> None:
        self._asking: SingleFlight[list[str]] = SingleFlight(keep=True)

    async def of(self, uuids: tuple[str, ...]) -> list[str]:
        """``/dev/nvidiaN`` of each. Raises :class:`ExecutorError` where the driver says no, or nothing."""
        if not uuids:
            return []
        try:
            async with asyncio.timeout(DRIVER_SECONDS):
                return await self._asking.do(",".join(uuids), lambda: in_own_thread(_nodes, uuids))
        except TimeoutError:
            raise ExecutorError(
                f"the NVIDIA driver has not answered for {DRIVER_SECONDS:g} s (NVML hangs), so that the job cannot be"
                " given its GPU: see the kernel's log (dmesg, Xid), and restart the machine if that does not end",
                code="system_fault.gpu",
            ) from None


def _nodes(uuids: tuple[str, ...]) -> list[str]:
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            handles = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
            return [f"/dev/nvidia{pynvml.nvmlDeviceGetMinorNumber(handle)}" for handle in handles]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise ExecutorError(
            f"the NVIDIA driver does not give the job its GPU: NVML error {error.value}: {error}",
            code="system_fault.gpu",
        ) from error
