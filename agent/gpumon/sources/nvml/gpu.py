"""One GPU, read in base units: its identity, its plan, and the values between two slow readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpumon.clock import Clock
from gpumon.errors import printable
from gpumon.model import (
    EnergyInfo,
    GpuIdentity,
    GpuProcess,
    GpuReading,
    GpuState,
    Platform,
    PowerSample,
)
from gpumon.model.bounds import is_time, power_bound
from gpumon.model.origins import MIG, Origins
from gpumon.model.terms import unknown_uuid
from gpumon.sources.energy import PowerIntegral, error_ratio
from gpumon.sources.nvml.decode import address_of, architecture, platform, virtualization
from gpumon.sources.nvml.library import SERIOUS, Door, FaultError
from gpumon.sources.nvml.mig import MigReader
from gpumon.sources.nvml.origin import SCOPE_MODULE, Field, Origin, words
from gpumon.sources.nvml.plan import LinkCounts, Plan, Values, probe
from gpumon.sources.nvml.processes import ProcessReader
from gpumon.sources.nvml.table import GPU, Cadence, Row
from gpumon.sources.nvml.table import MIG as OF_MIG
from gpumon.sources.origins import OriginTables

_INSTANT_POWER = 186

_OF_A_BOARD = ("_watts", "_joules")
"""What the fields end in that are a board's, and never a vGPU's."""

_REPEATED: dict[frozenset[str], frozenset[str]] = {}

_BESIDE = {"held_by": Cadence.SLOW, "processes": Cadence.SLOW, "identity": Cadence.IDENTITY}
"""Fields of a reading that are read beside the plan, and how often."""


class Gpu:
    """A GPU that has been found: knows its handle, and what it reports.

    Not thread-safe: it belongs to one worker.
    """

    def __init__(
        self,
        door: Door,
        index: int,
        clock: Clock,
        rows: Mapping[str, Row] | None = None,
        tables: OriginTables | None = None,
    ) -> None:
        """Find the GPU by NVML's index and probe it; raises FaultError.

        ``rows`` are what is read of it, by default all that this gpumon knows, with the newest
        drivers' ids; ``tables`` number how it is read, for a source of several GPUs.
        """
        self._door = door
        self._clock = clock
        self._tables = tables or OriginTables()
        self.handle = door.call("nvmlDeviceGetHandleByIndex", index)
        self.identity = _identity(door, self.handle, index)
        self._rows = _of_part(rows or GPU, whole=self.identity.is_board)
        self._counted: LinkCounts = {}
        self._plan: Plan = probe(door, self.handle, self._rows, self._counted)
        self._mig = MigReader(door, self.handle, index, self.identity.uuid)
        self._processes = ProcessReader(door, self.handle)
        self._held_by: tuple[GpuProcess, ...] | None = None
        self._read_at: dict[Cadence, float] = {}
        self._values: Values = {}
        self._integral = PowerIntegral()
        self._last_sample_us: int | None = self._probe_samples()
        self._energy = self._how_energy_is_known()
        self._origins: dict[bool, int] = {}
        self._repeated: dict[frozenset[Cadence], frozenset[str]] = {}

    def read(self) -> GpuReading:
        """Read what is due and return all that is known; raises FaultError, LateAnswerError."""
        time, monotonic = self._clock.time(), self._clock.monotonic()
        due = self._due(monotonic)
        if Cadence.IDENTITY in due and self._read_at:
            self._look_again()
        fresh = self._plan.read(self._door, self.handle, due, monotonic)
        if (
            "mig_mode" in self._values
            and fresh.get("mig_mode", self._values["mig_mode"]) != (self._values["mig_mode"])
        ):
            self._replan()  # a divided GPU answers less, and one that is whole again more
        for slot in self._plan.slots:
            if slot.cadence in due and slot.field not in fresh:
                self._values.pop(slot.field, None)
        self._values.update(fresh)
        self._read_at.update(dict.fromkeys(due, monotonic))
        if Cadence.SLOW in due:
            self._held_by = self._processes.read()
        # With all bits set the driver does not know it: nothing is looked for then.
        divided = self._values.get("mig_mode") is True
        if divided not in self._origins:
            self._origins[divided] = self._tables.number(self._where_from(divided=divided))
        return GpuReading(
            identity=self.identity,
            state=GpuState.OK,
            time=time,
            read_at=monotonic,
            power_samples=self._samples(time, self._values.get("power_watts")),
            power_scope=_scope(self._plan.origin("power_watts")),
            mig=self._mig.read(monotonic, divided=divided),
            held_by=self._held_by or (),
            processes=None if self._held_by is None else _count(self._held_by),
            denied=self._plan.refusals.denied,
            repeated=self._not_read(due),
            origins=self._origins[divided],
            **self._values,
            **self._energy_values(monotonic, self._values),
        )

    def close(self) -> None:
        """Give back what was allocated in the driver's library."""
        self._plan.close()
        self._mig.close()

    def _due(self, monotonic: float) -> frozenset[Cadence]:
        # Half a tick early is due as well: a slow set is then read on the tick nearest to its time.
        return frozenset(
            cadence
            for cadence in Cadence
            if cadence not in self._read_at
            or monotonic - self._read_at[cadence] >= cadence.value - 0.5
        )

    def _not_read(self, due: frozenset[Cadence]) -> frozenset[str]:
        """Return the fields of a reading that are not read again when these cadences are due."""
        found = self._repeated.get(due)
        if found is None:
            fields = {**_BESIDE, **{slot.field: slot.cadence for slot in self._plan.slots}}
            late = [field for field, cadence in fields.items() if cadence not in due]
            found = frozenset((*late, f"{MIG}multiprocessors"))
            # One object for all GPUs that are read alike goes over the pipe to the server once.
            found = self._repeated[due] = _REPEATED.setdefault(found, found)
        return found

    def _look_again(self) -> None:
        """Read the identity again, and probe again if something was not ready before."""
        self.identity = _identity(self._door, self.handle, self.identity.index)
        if self._plan.refusals.passing:
            self._replan()

    def _replan(self) -> None:
        self._plan.close()
        self._plan = probe(self._door, self.handle, self._rows, self._counted)
        self._energy = self._how_energy_is_known()
        self._origins, self._repeated = {}, {}

    def _where_from(self, *, divided: bool) -> Origins:
        """Return where each value comes from: what the plan reads, and what follows from it."""
        power = self._plan.origin("power_watts")
        told = self._plan.origins()
        samples = None if self._last_sample_us is None else "GetSamples"
        for extreme in ("power_peak_watts", "power_trough_watts"):
            told[extreme] = samples or told.get("power_watts", "")
        if self._energy is not None and self._energy.method == "integral" and power is not None:
            told["energy_joules"] = f"integral of {words(power)}"
        told["processes"] = self._processes.origin
        if divided:
            told.update({f"{MIG}{f}": words(row.origins[()][0]) for f, row in OF_MIG.items()})
        return told

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
        watts = values.get("power_watts")
        limits = (values.get("power_limit_watts"), values.get("power_limit_default_watts"))
        bound = power_bound(limits, module=_scope(power) == "module")
        sampled = isinstance(power, Field) and power.id == _INSTANT_POWER
        known = {
            "energy_info": self._energy,
            "energy_error_ratio": error_ratio(method=self._energy.method, sampled=sampled),
        }
        if self._energy.method == "integral":
            # What cannot be is counted where all readings pass (gpumon.sources.gate).
            if watts is not None and bound.holds(watts):
                # By the monotonic clock: a step of the wall clock is no time in which power flowed.
                self._integral.add(monotonic, watts)
            known["energy_joules"] = self._integral.joules
        return known

    def _probe_samples(self) -> int | None:
        """Return the time from which power samples are new, or None if there is no buffer."""
        if not self.identity.is_board:
            return None
        try:
            samples = self._door.power_samples(self.handle, 0)
        except FaultError as fault:
            if fault.code in SERIOUS:
                raise
            return None
        return _latest(samples) or 0

    def _samples(self, time: float, watts: float | None) -> tuple[PowerSample, ...]:
        """Return the power samples since the last reading, or this reading as the only one."""
        samples: list[tuple[int, int]] = []
        if self._last_sample_us is not None:
            try:
                samples = self._door.power_samples(self.handle, self._last_sample_us)
            except FaultError as fault:
                if fault.code in SERIOUS:
                    raise
        if samples:
            self._last_sample_us = _latest(samples) or self._last_sample_us
            return tuple(PowerSample(us / 1e6, milliwatts / 1000) for us, milliwatts in samples)
        return () if watts is None else (PowerSample(time, watts),)


def _of_part(rows: Mapping[str, Row], *, whole: bool) -> Mapping[str, Row]:
    """Return what is read of a GPU, or of a vGPU: power and energy are its board's.

    Drivers report none of a vGPU, as far as is known; one that did would report what the host reads
    too, and what other guests do.
    """
    return rows if whole else {f: row for f, row in rows.items() if not f.endswith(_OF_A_BOARD)}


def _latest(samples: Sequence[tuple[int, int]]) -> int | None:
    """Return the time of the last sample, in microseconds; None if none of the times can be.

    One with all bits set would make all later samples old ones.
    """
    return next((us for us, _ in reversed(samples) if is_time(us / 1e6)), None)


def _count(processes: tuple[GpuProcess, ...]) -> int:
    """Count processes; one that runs on two MIG instances is one."""
    return len({process.pid for process in processes})


def _scope(origin: Origin | None) -> str:
    """Return whose joules or watts an origin gives: those of the GPU or of its Grace module."""
    module = isinstance(origin, Field) and origin.scope == SCOPE_MODULE
    return "module" if module else "gpu"


def _identity(door: Door, handle: Any, index: int) -> GpuIdentity:
    pci = _fact(door, handle, "nvmlDeviceGetPciInfo_v3", None)
    address = address_of(pci) if pci is not None else ""
    # A board whose InfoROM is damaged may have none.
    uuid = _fact(door, handle, "nvmlDeviceGetUUID", "").strip()
    return GpuIdentity(
        index=index,
        uuid=uuid or unknown_uuid(address or f"gpu{index}"),
        name=_fact(door, handle, "nvmlDeviceGetName", ""),
        architecture=architecture(_fact(door, handle, "nvmlDeviceGetArchitecture", None)),
        serial=_fact(door, handle, "nvmlDeviceGetSerial", ""),
        pci_bus_id=address,
        module_id=_fact(door, handle, "nvmlDeviceGetModuleId", None),
        board_part_number=_fact(door, handle, "nvmlDeviceGetBoardPartNumber", ""),
        vbios_version=_fact(door, handle, "nvmlDeviceGetVbiosVersion", ""),
        minor_number=_fact(door, handle, "nvmlDeviceGetMinorNumber", None),
        platform=_where(door, handle),
        virtualization=virtualization(_fact(door, handle, "nvmlDeviceGetVirtualizationMode", None)),
    )


def _where(door: Door, handle: Any) -> Platform | None:
    info = _fact(door, handle, "nvmlDeviceGetPlatformInfo", None)
    return None if info is None else platform(info)


def _fact(door: Door, handle: Any, function: str, missing: Any) -> Any:
    try:
        fact = door.get(function, handle)
    except FaultError as fault:
        if fault.code in SERIOUS:
            raise
        return missing
    return printable(fact) if isinstance(fact, str) else fact
