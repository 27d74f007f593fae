"""Without a workload manager: the processes on a GPU, and the users whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumon.workloads.registration import Registration, Settings

if TYPE_CHECKING:
    from gpumon.workloads.manager import Manager


def _make(_: Settings) -> Manager:
    from gpumon.workloads.processes.processes import Processes

    return Processes()


REGISTRATION = Registration(
    name="processes",
    summary="the users whose programs run on it",
    allocates=False,
    installed=lambda: True,
    make=_make,
)
