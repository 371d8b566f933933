"""Slurm's own programs, asked as its users ask them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fedproc.site.executors.base import ExecutorError

_SECONDS = 60.0
_AWAY = ("Unable to contact slurm controller", "Connection refused", "Socket timed out", "Zero Bytes were transmitted",
         "Unable to establish controller", "Transport endpoint", "Communication connection failure")  # fmt: skip
_NO_SUCH_JOB = ("Invalid job id", "already completing or completed", "Job/step already completing")


class SlurmAwayError(ExecutorError):
    """Its controller does not answer: what it was given goes on."""


class Slurm:
    """Calls one cluster's programs."""

    async def submit(self, options: Sequence[str], script: str) -> str:
        """Queue a batch script; returns its number. Raises :class:`ExecutorError` with Slurm's words."""
        return (await self._call("sbatch", "--parsable", *options, script=script)).strip().partition(";")[0]

    async def find(self, name: str) -> str | None:
        """The number of the job of this name that waits or runs, if there is one."""
        found = await self._call("squeue", "--noheader", "--name", name, "--format", "%i")
        return found.split()[0] if found.split() else None

    async def state(self, number: str) -> str | None:
        """Slurm's word for it; None where Slurm has forgotten it, which it does minutes after an end."""
        try:
            shown = await self._call("scontrol", "--oneliner", "show", "job", number)
        except ExecutorError as error:
            if any(text in error.message for text in _NO_SUCH_JOB):
                return None
            raise
        fields = dict(pair.partition("=")[::2] for pair in shown.split() if "=" in pair)
        return fields.get("JobState")

    async def signal(self, number: str, name: str) -> None:
        """Signal what the batch script has become; what is gone stays as it is."""
        await self._forgiving("scancel", "--batch", "--signal", name.removeprefix("SIG"), number)

    async def cancel(self, number: str) -> None:
        """End it, waiting or running; what is gone stays as it is."""
        await self._forgiving("scancel", number)

    async def configuration(self) -> dict[str, str]:
        """``scontrol show config``, which a controller that is away keeps waiting for seconds: it is pinged before."""
        _, shown, errors = await self._run("scontrol", "ping")
        if " UP" not in shown:
            raise _away("scontrol ping", (errors or shown).partition("\n")[0].strip())
        lines = (await self._call("scontrol", "show", "config")).splitlines()
        return {name.strip(): value.strip() for name, found, value in (line.partition("=") for line in lines) if found}

    async def _forgiving(self, *command: str) -> None:
        try:
            await self._call(*command)
        except SlurmAwayError:
            raise
        except ExecutorError as error:
            if not any(text in error.message for text in _NO_SUCH_JOB):
                raise

    async def _call(self, *command: str, script: str = "") -> str:
        code, output, errors = await self._run(*command, script=script)
        if code == 0:
            return output
        text = errors.strip()[-500:]
        if any(word in text for word in _AWAY):
            raise _away(command[0], text)
        raise ExecutorError(f"{command[0]}: {text}", code="system_fault.slurm")

    async def _run(self, *command: str, script: str = "") -> tuple[int | None, str, str]:
        """Exit code, output and errors."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise ExecutorError(
                f"{command[0]} cannot be started ({error.strerror}): install Slurm's programs on this host "
                "(slurm-client), which is to be a login node of the cluster",
                code="system_fault.slurm",
            ) from error
        try:
            async with asyncio.timeout(_SECONDS):
                output, errors = await process.communicate(script.encode())
        except TimeoutError:
            raise _away(command[0], f"no answer for {_SECONDS:g} s") from None
        finally:  # also where nobody waits for it any more: it must not hand a job over after that
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, output.decode(errors="replace"), errors.decode(errors="replace")


def _away(program: str, text: str) -> SlurmAwayError:
    return SlurmAwayError(
        f"Slurm's controller does not answer ({program}: {text}); its jobs go on, and new ones wait until it is back",
        code="system_fault.slurm",
    )
