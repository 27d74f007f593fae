"""Slurm's own commands, run with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import os

GRACE_SECONDS = 1.0
"""How long a program that was killed is waited for."""

DEADLINE_SECONDS = 10.0

_PREFIXES = ("SQUEUE_", "SINFO_", "SCONTROL_")
_NAMES = frozenset({"SLURM_CLUSTERS", "SLURM_TIME_FORMAT", "SLURM_JSON", "SLURM_YAML"})
"""Variables that change what these commands print."""


class SlurmError(Exception):
    """Slurm did not answer, or answered nonsense."""


def environment() -> dict[str, str]:
    """Return this process's environment without what changes the form of Slurm's output."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _NAMES and not name.startswith(_PREFIXES)
    }
    return {**kept, "LC_ALL": "C"}


async def run_command(*command: str) -> str:
    """Return what a command printed; SlurmError if it failed or took too long."""
    return (await run_for_bytes(*command)).decode("utf-8", "replace")


async def run_for_job(*command: str) -> bytes:
    """Return what a command prints of one job; nothing if Slurm has forgotten that job."""
    try:
        return await run_for_bytes(*command)
    except SlurmError as error:
        if "invalid job id" in str(error).lower():
            return b""
        raise


async def run_for_bytes(*command: str) -> bytes:
    """Return what a command printed, as it is; SlurmError if it failed or took too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
        )
    except OSError as error:
        raise SlurmError(f"{command[0]} cannot be run ({error.strerror})") from None
    try:
        out, wrong = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    except asyncio.TimeoutError:
        raise SlurmError(f"{command[0]} did not reply in {DEADLINE_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            await _end(process)
    if process.returncode:
        said = wrong.decode("utf-8", "replace").strip().splitlines() or ["nothing"]
        raise SlurmError(f"{command[0]} failed: {said[-1]}")
    return out


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a program and see it end, so that nothing of it is left open when the agent goes."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(asyncio.TimeoutError):  # it may wait for a disk that does not answer
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
