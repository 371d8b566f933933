"""GPUs. All lines speak of the same GPU, the one with the most memory that a single program can use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.facts import Facts, Gpu, GpuFacts, Unknown
from fedproc.onboarding.model.report import Line
from fedproc.onboarding.rules.common import Check, Finding, Requirement, asks, line, nominal, unknown

NO_GPU_CURE = "use a machine with an NVIDIA GPU, or a profile that allows hosts without one (d6.1-cpu, tier2)"
DRIVER_CURE = "install NVIDIA's driver of this distribution, restart, and see that 'nvidia-smi' lists the GPU"
BROKEN_CURE = "make 'nvidia-smi' work first: restart after a driver update, otherwise install the driver anew"


def cuda(requirement: Requirement, facts: Facts) -> list[Line]:
    """How many GPUs a CUDA program can use now."""
    text = "GPU that supports CUDA: " + asks(requirement, lambda n: f"at least {formatting.number(n)}")
    found = facts.gpu
    if found is None or isinstance(found, Unknown) or found.state == "unknown":
        return [_cannot_tell("gpu.cuda", requirement, text, found)]
    count = len([gpu for gpu in found.gpus if memory(gpu) is not None])
    finding = Finding(_listed(found, count), lambda least: count >= least, _cure(found))
    return [line("gpu.cuda", requirement, text, finding)]


def memory(gpu: Gpu) -> int | None:
    """Bytes that one program can use on it: in MIG mode the largest instance; ``None`` if nothing can be used."""
    if gpu.fault:
        return None
    if gpu.mig is None:
        return gpu.memory_bytes
    return max((instance.memory_bytes for instance in gpu.mig), default=None)


def describe(gpu: Gpu) -> str:
    """One GPU in short."""
    if gpu.fault:
        return f"GPU {gpu.index}: cannot be used ({gpu.fault})"
    size = f"{formatting.gib(gpu.memory_bytes)}" if gpu.memory_bytes else "memory not stated"
    mig = ""
    if gpu.mig is not None:
        parts = ", ".join(formatting.gib(i.memory_bytes) for i in gpu.mig) or "no instance, so nothing to use"
        mig = f", in MIG mode: {parts}"
    return f"GPU {gpu.index}: {gpu.name}, {size}{mig}"


def vram(requirement: Requirement, facts: Facts) -> list[Line]:
    """Memory of the GPU, in nominal GB."""
    tolerance = requirement.tolerance
    text = f"VRAM of one GPU: {nominal(requirement)}"
    return _of_best(
        "gpu.vram",
        requirement,
        facts,
        text,
        lambda gpu: (
            describe(gpu),
            memory(gpu),
            lambda size, n: formatting.reaches(size, n, formatting.GIB, tolerance),
        ),
        "use a GPU with more memory; for a GPU in MIG mode, make a larger instance",
    )


def compute(requirement: Requirement, facts: Facts) -> list[Line]:
    """CUDA compute capability of the GPU."""
    text = "CUDA compute capability: " + asks(requirement, lambda v: f"{v} or newer")
    return _of_best(
        "gpu.compute",
        requirement,
        facts,
        text,
        lambda gpu: (
            f"{gpu.compute_capability or 'the driver does not state it'} (GPU {gpu.index}: {gpu.name})",
            gpu.compute_capability,
            formatting.at_least,
        ),
        "use a newer GPU: the CUDA releases that the tools are built with no longer serve this one",
    )


def tensor_cores(requirement: Requirement, facts: Facts) -> list[Line]:
    """Tensor cores of the GPU, from its CUDA cores and architecture."""
    text = "tensor cores of one GPU: " + asks(requirement, lambda n: f"more than {formatting.number(n)}")
    return _of_best(
        "gpu.tensor-cores",
        requirement,
        facts,
        text,
        lambda gpu: (_tensor_text(gpu), gpu.tensor_cores, lambda mine, asked: mine > asked),
        "use a GPU of a larger class",
    )


def _tensor_text(gpu: Gpu) -> str:
    if gpu.tensor_cores is None:
        return f"not known for this architecture or driver (GPU {gpu.index}: {gpu.name})"
    basis = f"{gpu.cuda_cores} CUDA cores, compute capability {gpu.compute_capability}"
    return f"{gpu.tensor_cores} (GPU {gpu.index}: {gpu.name}; {basis})"


def driver(requirement: Requirement, facts: Facts) -> list[Line]:
    """Version of the NVIDIA driver."""
    text = "NVIDIA driver: " + asks(requirement, lambda v: f"{v} or newer")
    found = facts.gpu
    if found is None or isinstance(found, Unknown) or found.state in ("unknown", "broken"):
        return [_cannot_tell("gpu.driver", requirement, text, found)]
    if not found.driver:
        return [line("gpu.driver", requirement, text, Finding(found.reason, lambda asked: False, _cure(found)))]
    version = found.driver
    measured = f"{version} (CUDA up to {found.cuda})" if found.cuda else version
    cure = "update the NVIDIA driver by this distribution's packages and restart"
    finding = Finding(measured, lambda asked: formatting.at_least(version, asked), cure)
    return [line("gpu.driver", requirement, text, finding)]


Measure = Callable[[Gpu], tuple[str, Any, Callable[[Any, Any], bool | None]]]


def _of_best(check: str, requirement: Requirement, facts: Facts, text: str, measure: Measure, cure: str) -> list[Line]:
    """``measure`` gives for a GPU what is shown, the value (``None``: not known), and how it is compared."""
    found = facts.gpu
    if found is None or isinstance(found, Unknown) or found.state in ("unknown", "broken"):
        return [_cannot_tell(check, requirement, text, found)]
    usable = [gpu for gpu in found.gpus if memory(gpu) is not None]
    if not usable:
        return [line(check, requirement, text, Finding(_listed(found, 0), lambda asked: False, _cure(found)))]
    measured, value, compare = measure(best(usable))
    meets = (lambda asked: None) if value is None else (lambda asked: compare(value, asked))
    return [line(check, requirement, text, Finding(measured, meets, cure))]


def best(usable: list[Gpu]) -> Gpu:
    """The GPU with the most memory for one program, of equals the one with the newest architecture."""

    def rank(gpu: Gpu) -> tuple[int, tuple[int, ...], int]:
        return memory(gpu) or 0, formatting.version(gpu.compute_capability or "") or (), -gpu.index

    return max(usable, key=rank)


def _listed(found: GpuFacts, count: int) -> str:
    listed = "; ".join(describe(gpu) for gpu in found.gpus)
    reason = f": {found.reason}" if found.reason else ""
    cards = "" if found.gpus or not found.cards else f"; display cards on the PCI bus: {', '.join(found.cards)}"
    return f"{count} GPU{'' if count == 1 else 's'}{reason}{f': {listed}' if listed else ''}{cards}"


def _cannot_tell(check: str, requirement: Requirement, text: str, found: GpuFacts | Unknown | None) -> Line:
    if found is None:
        return unknown(check, requirement, text, "GPUs were not measured", "run the check with the topic 'gpu'")
    reason = found.unknown if isinstance(found, Unknown) else found.reason
    return unknown(check, requirement, text, reason, BROKEN_CURE)


def _cure(found: GpuFacts) -> str:
    if found.state == "broken" or any(gpu.fault for gpu in found.gpus):
        return BROKEN_CURE
    if any(gpu.mig == () for gpu in found.gpus):
        return "make MIG instances on the GPU ('nvidia-smi mig -cgi … -C'), or turn MIG mode off"
    if any(card.startswith("NVIDIA") for card in found.cards):
        return DRIVER_CURE
    return NO_GPU_CURE


CHECKS = (
    Check("gpu.cuda", "number", cuda),
    Check("gpu.vram", "number", vram),
    Check("gpu.compute", "version", compute),
    Check("gpu.driver", "version", driver),
    Check("gpu.tensor-cores", "number", tensor_cores),
)
