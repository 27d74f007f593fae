"""Who holds a GPU: the processes with a context on it, and their share of its SMs.

The slowest calls there are (4.5 ms measured for the list on a desktop card, MangoHud pull request
2104), so they belong to the slow cadence.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import psutil

from gpumon.model import GpuProcess
from gpumon.model.bounds import is_time
from gpumon.sources.nvml.library import FINAL, SERIOUS, Code, Door, FaultError, ProcessEntry

_LISTS = {
    "compute": "nvmlDeviceGetComputeRunningProcesses_v3",
    "graphics": "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "mps": "nvmlDeviceGetMPSComputeRunningProcesses_v3",
}
"""Kinds of context and the calls that list them; a process may be on several."""


class _Who(NamedTuple):
    """User, name and user number of a process."""

    user: str
    name: str
    uid: int | None


class ProcessReader:
    """Lists the processes of one GPU; belongs to the GPU's worker."""

    def __init__(self, door: Door, handle: Any) -> None:
        """Ask which lists this GPU has; raises FaultError for what speaks of the whole GPU."""
        self._door = door
        self._handle = handle
        self._kinds = tuple(filter(self._has, _LISTS))
        self._shares_since: int | None = 0
        self._names: dict[int, _Who] = {}

    @property
    def origin(self) -> str:
        """The origin of the processes, in words; empty if this GPU lists none."""
        return "process lists" if self._kinds else ""

    def read(self) -> tuple[GpuProcess, ...] | None:
        """Return the processes, or None if this GPU does not report them.

        None also if one list cannot be read this time: those of the others are not all.
        """
        listed: dict[str, list[ProcessEntry]] = {}
        try:
            for kind in self._kinds:
                entries = self._listed(kind)
                if entries is not None:
                    listed[kind] = entries
        except FaultError as fault:
            if fault.code in SERIOUS:
                raise
            return None
        if not listed:
            return None
        found = {
            (entry.pid, entry.gpu_instance): (kind, entry)
            for kind, entries in reversed(listed.items())
            for entry in entries
        }
        shares = self._shares() if found else {}
        self._names = {pid: self._names.get(pid) or _who(pid) for pid, _ in found}
        return tuple(
            _process(kind, entry, shares, self._names[pid])
            for (pid, _), (kind, entry) in sorted(found.items(), key=_by_process)
        )

    def _has(self, kind: str) -> bool:
        """Return whether this GPU has a list, or may have: it cannot be read this time."""
        try:
            return self._listed(kind) is not None
        except FaultError as fault:
            if fault.code in SERIOUS:
                raise
            return True

    def _listed(self, kind: str) -> list[ProcessEntry] | None:
        """Return a list, None if this GPU has none; FaultError if it cannot be read this time."""
        try:
            return self._door.processes(_LISTS[kind], self._handle)
        except FaultError as fault:
            if fault.code not in FINAL:
                raise
            return None

    def _shares(self) -> dict[int, float]:
        """Return the mean share of the SMs' time by process since the last look."""
        if self._shares_since is None:
            return {}
        try:
            samples = self._door.get(
                "nvmlDeviceGetProcessUtilization", self._handle, self._shares_since
            )
        except FaultError as fault:
            if fault.code in SERIOUS:
                raise
            if fault.code != Code.NOT_FOUND:  # nothing new: nobody computed
                self._shares_since = None
            return {}
        by_process: dict[int, list[int]] = {}
        for sample in samples:
            by_process.setdefault(sample.pid, []).append(sample.smUtil)
        # A time with all bits set would make all later samples old ones.
        known = (s.timeStamp for s in samples if is_time(s.timeStamp / 1e6))
        self._shares_since = max(known, default=self._shares_since)
        return {pid: sum(shares) / len(shares) / 100 for pid, shares in by_process.items()}


def _by_process(item: tuple[tuple[int, int | None], Any]) -> tuple[int, int]:
    (pid, gpu_instance), _ = item
    return pid, -1 if gpu_instance is None else gpu_instance


def _process(kind: str, entry: ProcessEntry, shares: dict[int, float], who: _Who) -> GpuProcess:
    return GpuProcess(
        pid=entry.pid,
        kind=kind,
        memory_bytes=entry.memory_bytes,
        sm_ratio=shares.get(entry.pid),
        user=who.user,
        name=who.name,
        uid=who.uid,
        gpu_instance=entry.gpu_instance,
        compute_instance=entry.compute_instance,
    )


def _who(pid: int) -> _Who:
    """Return whose a process is; empty if it is not to be seen from here."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return _Who(process.username(), process.name(), process.uids().real)
    except psutil.Error:
        return _Who("", "", None)
