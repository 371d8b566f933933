"""Which outputs of a job leave masked, and their bytes on their way to the centre (:mod:`fedproc.site.masking`)."""

from __future__ import annotations

from pathlib import Path

from fedproc.common.errors import ToolFaultError
from fedproc.common.files import write_atomically
from fedproc.contract.tool.privacy import masked_outputs, privacy_of
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.contract.tool.tool import Tool
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.masking.masked import mask
from fedproc.site.masking.pairs import Pairs
from fedproc.site.policy.demands import check_again, check_privacy
from fedproc.site.policy.policy_file import ToolRule


def protect(services: Services, record: JobRecord, rule: ToolRule, tool: Tool) -> None:
    """Note which outputs leave masked, and how private it is otherwise. Raises :class:`RefusedError` where the site
    demands more protection of persons than the job's parameters ask for, or where the masks would protect nobody."""
    task = tool.task(record.order.task)
    check_privacy(task, record.order, tool, secure_sums=rule.secure_sums, most=rule.differential_privacy)
    record.masked = masked_outputs(tool.parameters, record.order.parameters, record.order.task)
    record.private = privacy_of(tool.parameters, record.order.parameters)
    if record.masked:
        record.own_parameters = tool.host_parameters()
        _pairs(services, record)


def check_demands(record: JobRecord, task: Task, rule: ToolRule) -> None:
    """Raises :class:`RefusedError` where the site's policy demands more by now than the job was found to have."""
    private = record.private
    check_again(task, record.masked, private, secure_sums=rule.secure_sums, most=rule.differential_privacy)


def write_masked(services: Services, record: JobRecord, declared: OutputDecl, source: Path) -> Path:
    """A file beside the sealed ones with what leaves of ``source``: the same bytes, whenever it is written."""
    masked = services.workspace(record.job).root / "masked" / f"{declared.name}.json"
    masked.parent.mkdir(parents=True, exist_ok=True)
    content = mask(source.read_bytes(), declared, _pairs(services, record))
    if len(content) > declared.max_mb * 1_000_000:
        raise ToolFaultError(
            f"output {declared.name} has {len(content)} bytes when it is masked; max_mb allows {declared.max_mb:g} MB",
            code="tool_fault.output_size",
        )
    write_atomically(masked, content)
    return masked


def _pairs(services: Services, record: JobRecord) -> Pairs:
    host, key = services.settings.host, services.identity.key
    return Pairs(record.order, host, key, services.policy.known_keys, record.own_parameters)
