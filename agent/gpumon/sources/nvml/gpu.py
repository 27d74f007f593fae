"""One GPU, read in base units: its identity, its plan, and the values between two slow readings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpumon.clock import Clock
from gpumon.model import (
    ARCHITECTURES,
    Cadence,
    EnergyInfo,
    GpuIdentity,
    GpuReading,
    GpuState,
    PowerSample,
)
from gpumon.model.origin import SCOPE_MODULE, Field, Origin
from gpumon.sources.energy import PowerIntegral, error_ratio
from gpumon.sources.nvml.library import SERIOUS, Door, FaultError
from gpumon.sources.nvml.plan import Plan, Values, probe

_INSTANT_POWER = 186


class Gpu:
    """A GPU that has been found: knows its handle, and what it answers.

    Not thread-safe: it belongs to one worker.
    """

    def __init__(self, door: Door, index: int, clock: Clock) -> None:
        """Find the GPU by NVML's index and probe it; raises FaultError."""
        self._door = door
        self._clock = clock
        self._handle = door.call("nvmlDeviceGetHandleByIndex", index)
        self.identity = _identity(door, self._handle, index)
        self._plan: Plan = probe(door, self._handle)
        self._read_at: dict[Cadence, float] = {}
        self._values: Values = {}
        self._integral = PowerIntegral()
        self._last_sample_us: int | None = self._probe_samples()
        self._energy = self._how_energy_is_known()

    def read(self) -> GpuReading:
        """Read what is due and return all that is known; raises FaultError, LateAnswerError."""
        time, monotonic = self._clock.time(), self._clock.monotonic()
        due = self._due(monotonic)
        if Cadence.IDENTITY in due and self._read_at:
            self._look_again()
        fresh = self._plan.read(self._door, self._handle, due, monotonic)
        for slot in self._plan.slots:
            if slot.metric.cadence in due and slot.metric.field not in fresh:
                self._values.pop(slot.metric.field, None)
        self._values.update(fresh)
        self._read_at.update(dict.fromkeys(due, monotonic))
        return GpuReading(
            identity=self.identity,
            state=GpuState.OK,
            time=time,
            read_at=monotonic,
            power_samples=self._samples(time, self._values.get("power_watts")),
            power_scope=_scope(self._plan.origin("power_watts")),
            **self._values,
            **self._energy_values(monotonic, self._values),
        )

    def close(self) -> None:
        """Give back what was allocated in the driver's library."""
        self._plan.close()

    def _due(self, monotonic: float) -> frozenset[Cadence]:
        # Half a tick early is due as well: a slow set is then read on the tick nearest to its time.
        return frozenset(
            cadence
            for cadence in Cadence
            if cadence not in self._read_at
            or monotonic - self._read_at[cadence] >= cadence.value - 0.5
        )

    def _look_again(self) -> None:
        """Read the identity anew, and probe again where something was not ready before."""
        self.identity = _identity(self._door, self._handle, self.identity.index)
        if not self._plan.complete:
            self._plan.close()
            self._plan = probe(self._door, self._handle)
            self._energy = self._how_energy_is_known()

    def _how_energy_is_known(self) -> EnergyInfo | None:
        energy, power = self._plan.origin("energy_joules"), self._plan.origin("power_watts")
        origin = energy or power
        if origin is None:
            return None
        return EnergyInfo("counter" if energy else "integral", _scope(origin))

    def _energy_values(self, monotonic: float, values: Mapping[str, Any]) -> dict[str, Any]:
        if self._energy is None:
            return {}
        power = self._plan.origin("power_watts")
        sampled = isinstance(power, Field) and power.id == _INSTANT_POWER
        known = {
            "energy_info": self._energy,
            "energy_error_ratio": error_ratio(method=self._energy.method, sampled=sampled),
        }
        watts = values.get("power_watts")
        if self._energy.method == "integral":
            if watts is not None:
                # By the monotonic clock: a step of the wall clock is no time in which power flowed.
                self._integral.add(monotonic, watts)
            known["energy_joules"] = self._integral.joules
        return known

    def _probe_samples(self) -> int | None:
        """Return the time from which power samples are new, or None where there is no buffer."""
        try:
            samples = self._door.power_samples(self._handle, 0)
        except FaultError as fault:
            if fault.code in SERIOUS:
                raise
            return None
        return samples[-1][0] if samples else 0

    def _samples(self, time: float, watts: float | None) -> tuple[PowerSample, ...]:
        """Return the power samples since the last reading, or this reading as the only one."""
        samples: list[tuple[int, int]] = []
        if self._last_sample_us is not None:
            try:
                samples = self._door.power_samples(self._handle, self._last_sample_us)
            except FaultError as fault:
                if fault.code in SERIOUS:
                    raise
        if samples:
            self._last_sample_us = samples[-1][0]
            return tuple(PowerSample(us / 1e6, milliwatts / 1000) for us, milliwatts in samples)
        return () if watts is None else (PowerSample(time, watts),)


def _scope(origin: Origin | None) -> str:
    """Return whose joules or watts an origin gives: those of the GPU or of its Grace module."""
    module = isinstance(origin, Field) and origin.scope == SCOPE_MODULE
    return "module" if module else "gpu"


def _identity(door: Door, handle: Any, index: int) -> GpuIdentity:
    architecture = _fact(door, handle, "nvmlDeviceGetArchitecture", 0)
    pci = _fact(door, handle, "nvmlDeviceGetPciInfo_v3", None)
    return GpuIdentity(
        index=index,
        uuid=door.get("nvmlDeviceGetUUID", handle),
        name=_fact(door, handle, "nvmlDeviceGetName", ""),
        architecture=ARCHITECTURES.get(architecture, f"architecture {architecture}"),
        serial=_fact(door, handle, "nvmlDeviceGetSerial", ""),
        pci_bus_id=pci.busId if pci is not None else "",
        module_id=_fact(door, handle, "nvmlDeviceGetModuleId", None),
        board_part_number=_fact(door, handle, "nvmlDeviceGetBoardPartNumber", ""),
        vbios_version=_fact(door, handle, "nvmlDeviceGetVbiosVersion", ""),
        minor_number=_fact(door, handle, "nvmlDeviceGetMinorNumber", None),
    )


def _fact(door: Door, handle: Any, function: str, missing: Any) -> Any:
    try:
        return door.get(function, handle)
    except FaultError as fault:
        if fault.code in SERIOUS:
            raise
        return missing
