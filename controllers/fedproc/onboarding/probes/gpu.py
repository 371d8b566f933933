"""GPUs through NVML (nvidia-ml-py), NVIDIA's own management library of the driver."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedproc.onboarding.model.facts import Gpu, GpuFacts, MigInstance
from fedproc.onboarding.probes import files

LIBRARY = "libnvidia-ml.so.1"
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}

# CUDA cores and tensor cores of one streaming multiprocessor, by compute capability (NVIDIA's architecture
# whitepapers: Volta, Turing, Ampere GA100 and GA10x, Ada, Hopper, Blackwell).
CORES_PER_MULTIPROCESSOR = {
    "7.0": (64, 8), "7.2": (64, 8), "7.5": (64, 8), "8.0": (64, 4), "8.6": (128, 4), "8.7": (128, 4),
    "8.9": (128, 4), "9.0": (128, 4), "10.0": (128, 4), "10.3": (128, 4), "12.0": (128, 4), "12.1": (128, 4),
}  # fmt: skip


def probe(pci: Path = Path("/sys/bus/pci/devices")) -> GpuFacts:
    """What NVML says; where it says nothing, the display cards on the PCI bus help to say why."""
    cards = display_cards(pci)
    if error := _load_error():
        missing = "No such file" in error
        state, reason = ("none", f"no NVML ({LIBRARY}) here") if missing else ("broken", f"NVML does not load: {error}")
        return GpuFacts(state, reason, cards=cards)
    return _through_nvml(cards)


def display_cards(pci: Path) -> tuple[str, ...]:
    """``vendor (vendor:device at address)`` of each display or 3D controller (PCI base class 03)."""
    found = []
    for device in sorted(pci.glob("*")):
        if (files.text(device / "class") or "").startswith("0x03"):
            vendor, model = files.text(device / "vendor") or "", files.text(device / "device") or ""
            found.append(f"{VENDORS.get(vendor, 'other')} ({vendor[2:]}:{model[2:]} at {device.name})")
    return tuple(found)


def tensor_cores(name: str, capability: str | None, cuda_cores: int | None) -> int | None:
    """Tensor cores from the CUDA cores, exact for the architectures listed; ``None`` for others.

    NVML does not report them. The GTX 16 series has the compute capability of Turing but no tensor cores.
    """
    if (capability is not None and float(capability) < 7.0) or "GTX 16" in name:
        return 0
    per = CORES_PER_MULTIPROCESSOR.get(capability or "")
    return cuda_cores // per[0] * per[1] if per and cuda_cores else None


def _load_error() -> str | None:
    # The binding says "not found" for every way in which loading can fail, so the loader is asked first.
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        return str(error)
    return None


def _through_nvml(cards: tuple[str, ...]) -> GpuFacts:
    import pynvml as nvml

    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return _no_answer(nvml, error, cards)
    try:
        return _read(nvml, cards)
    except nvml.NVMLError as error:
        return _no_answer(nvml, error, cards)
    finally:
        nvml.nvmlShutdown()


def _no_answer(nvml: Any, error: Any, cards: tuple[str, ...]) -> GpuFacts:
    reasons = {
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA kernel driver is not loaded",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA kernel module and libraries are of different versions",
        nvml.NVML_ERROR_GPU_IS_LOST: "a GPU has fallen off the bus",
        nvml.NVML_ERROR_RESET_REQUIRED: "a GPU must be reset",
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the NVIDIA driver is too old for NVML's present interface",
    }
    known = error.value in reasons
    text = f"{reasons[error.value] if known else 'NVML does not answer'} (NVML error {error.value}: {error})"
    return GpuFacts("broken" if known else "unknown", text, cards=cards)


def _read(nvml: Any, cards: tuple[str, ...]) -> GpuFacts:
    cuda = _optional(nvml, nvml.nvmlSystemGetCudaDriverVersion)
    return GpuFacts(
        "ready",
        driver=nvml.nvmlSystemGetDriverVersion(),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        gpus=tuple(_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())),
        cards=cards,
    )


def _gpu(nvml: Any, index: int) -> Gpu:
    try:
        return _describe(nvml, index, nvml.nvmlDeviceGetHandleByIndex(index))
    except nvml.NVMLError as error:
        return Gpu(index, f"GPU {index}", "", fault=f"NVML error {error.value}: {error}")


def _describe(nvml: Any, index: int, handle: Any) -> Gpu:
    name = nvml.nvmlDeviceGetName(handle)
    capability = _optional(nvml, nvml.nvmlDeviceGetCudaComputeCapability, handle)
    version = f"{capability[0]}.{capability[1]}" if capability else None
    cores = _optional(nvml, nvml.nvmlDeviceGetNumGpuCores, handle)
    return Gpu(
        index=index,
        name=name,
        uuid=nvml.nvmlDeviceGetUUID(handle),
        memory_bytes=nvml.nvmlDeviceGetMemoryInfo(handle).total,
        compute_capability=version,
        cuda_cores=cores,
        tensor_cores=tensor_cores(name, version, cores),
        mig=_mig_instances(nvml, handle),
    )


def _mig_instances(nvml: Any, handle: Any) -> tuple[MigInstance, ...] | None:
    """The instances of a GPU in MIG mode; ``None`` where MIG is off or the device has none."""
    mode = _optional(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return None
    slots = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    handles = [_optional(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, n) for n in range(slots)]
    return tuple(
        MigInstance(nvml.nvmlDeviceGetName(h), nvml.nvmlDeviceGetUUID(h), nvml.nvmlDeviceGetMemoryInfo(h).total)
        for h in handles
        if h is not None
    )


def _optional(nvml: Any, call: Callable[..., Any], *arguments: Any) -> Any:
    """``None`` where this device or driver does not have what is asked (an empty MIG slot, an older driver)."""
    absent = (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    try:
        return call(*arguments)
    except nvml.NVMLError as error:
        if error.value in absent:
            return None
        raise
