"""What faults do to a GPU: to its readings, to its physics, and to what runs on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gpumon.model import GpuReading, GpuState
from gpumon.simulate.faults import Fault
from gpumon.simulate.jobs import Fixed
from gpumon.sources.sim.models import GpuModel
from gpumon.sources.sim.node import SimGpu
from gpumon.sources.sim.physics import CLOCK_STEP
from gpumon.sources.sim.workload import DENSE, Load, Program, Training, stuck

Changes = Mapping[str, Any]

STATES = {
    "lost": (GpuState.LOST, "GPU is lost (NVML error 15)"),
    "hung": (GpuState.HUNG, "a call to the driver has not returned"),
    "reset_required": (GpuState.RESET_REQUIRED, "the driver demands a reset (NVML error 16)"),
    "error": (GpuState.ERROR, "unknown error (NVML error 999)"),
}

_WAITING = Load(context=True, utilization=0.0)
"""A process that holds the GPU and does nothing."""


def in_readings(reading: GpuReading, faults: Iterable[Fault], seconds: float) -> GpuReading:
    """Return a GPU's reading as its driver would give it with these faults.

    ``faults`` are those that have begun; one that is over still counts in what it has counted.
    """
    changes: dict[str, Any] = {}
    for fault in faults:
        if fault.kind in STATES and fault.active(seconds):
            state, reason = STATES[fault.kind]
            return GpuReading(
                identity=reading.identity,
                state=state,
                reason=reason,
                time=reading.time,
                read_at=reading.read_at,
            )
        effects = [_COUNTED.get(fault.kind)]
        effects += [_TOLD.get(fault.kind)] if fault.active(seconds) else []
        for effect in effects:
            if effect is not None and reading.state is GpuState.OK:
                changes |= effect(_Seen(reading, changes), fault, fault.lasted(seconds))
    return dataclasses.replace(reading, **changes) if changes else reading


class _Seen:
    """A reading as the faults before have left it."""

    def __init__(self, reading: GpuReading, changes: Changes) -> None:
        self._reading = reading
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        return self._changes.get(name, getattr(self._reading, name))


Effect = Callable[[Any, Fault, float], Changes]


def _set(**changes: Any) -> Effect:
    return lambda _reading, _fault, _lasted: changes


def _value(field: str) -> Effect:
    return lambda _reading, fault, _lasted: {field: fault.value}


def _whole(field: str) -> Effect:
    return lambda _reading, fault, _lasted: {field: int(fault.number_value())}


def _more(field: str, key: Any, count: Callable[[Fault, float], int]) -> Effect:
    def effect(reading: Any, fault: Fault, lasted: float) -> Changes:
        counts = dict(getattr(reading, field) or {})
        counts[key] = counts.get(key, 0) + count(fault, lasted)
        return {field: counts}

    return effect


def _rate(fault: Fault, lasted: float) -> int:
    return int(fault.number_value() * lasted)


def _at_once(fault: Fault, _lasted: float) -> int:
    return int(fault.number_value())


def _links_down(reading: Any, fault: Fault, _lasted: float) -> Changes:
    up = max(0, (reading.nvlink_links or 0) - int(fault.number_value()))
    links = {link: number < up for number, link in enumerate(reading.nvlink_link_up or {})}
    return {"nvlink_links_active": up, "nvlink_link_up": links}


def _unhealthy(reading: Any, fault: Fault, _lasted: float) -> Changes:
    return {"fabric_unhealthy": {**(reading.fabric_unhealthy or {}), str(fault.value): True}}


def _replays(reading: Any, fault: Fault, lasted: float) -> Changes:
    return {"pcie_replays": (reading.pcie_replays or 0) + _rate(fault, lasted)}


def _firmware(reading: Any, fault: Fault, _lasted: float) -> Changes:
    return {"identity": dataclasses.replace(reading.identity, vbios_version=str(fault.value))}


def _by_the_cap(reading: Any, _fault: Fault, _lasted: float) -> Changes:
    return {"throttle_reasons": (reading.throttle_reasons or frozenset()) | {"sw_power_cap"}}


def _slowed_down(reading: Any, _fault: Fault, _lasted: float) -> Changes:
    return {"throttle_reasons": (reading.throttle_reasons or frozenset()) | {"hw_slowdown"}}


def _held_down(reading: Any, _fault: Fault, lasted: float) -> Changes:
    times = dict(reading.throttle_seconds or {})
    times["sw_power_cap"] = times.get("sw_power_cap", 0.0) + lasted
    return {"throttle_seconds": times}


_TOLD: Mapping[str, Effect] = {
    "recovery": _value("recovery_action"),
    "remap_pending": _set(row_remap_pending=True),
    "remap_failed": _set(row_remap_failed=True),
    "remap_exhausted": _whole("remap_banks_exhausted"),
    "sram_exceeded": _set(sram_threshold_exceeded=True),
    "nvlink_down": _links_down,
    "fabric_stuck": _set(fabric_state="in_progress"),
    "fabric_unhealthy": _unhealthy,
    "pcie_width": _whole("pcie_link_width"),
    "pcie_generation": _whole("pcie_link_generation"),
    "memory_hot": _value("memory_temperature_celsius"),
    "smoothing_life": _value("power_smoothing_lifetime_ratio"),
    "vbios": _firmware,
    "hw_slowdown": _slowed_down,
    "persistence_off": _set(persistence_mode=False),
    "ecc_off": _set(ecc_mode=False, ecc_mode_pending=False),
    "current_limited": _by_the_cap,
}
"""What is so while the fault lasts."""

_COUNTED: Mapping[str, Effect] = {
    "ecc_uncorrected": _more("ecc_errors", ("uncorrected", "dram"), _at_once),
    "ecc_corrected": _more("ecc_errors", ("corrected", "dram"), _rate),
    "nvlink_errors": _more("nvlink_errors", "recovery", _rate),
    "pcie_replays": _replays,
    "current_limited": _held_down,
}
"""What stays counted when the fault is over."""


class EnergyCounter:
    """A device's energy counter, which a fault may stop or slow; it never goes back."""

    def __init__(self, joules: float) -> None:
        """Have shown what the device has counted so far."""
        self._true = self._shown = joules

    def show(self, joules: float, faults: Iterable[Fault]) -> float:
        """Return what the counter shows, in whole millijoules, at the device's own ``joules``."""
        pace = 1.0
        for fault in faults:
            if fault.kind == "energy_stuck":
                pace = 0.0
            elif fault.kind == "energy_diverging":
                pace = min(pace, fault.number_value()) if pace < 1 else fault.number_value()
        self._shown += pace * (joules - self._true)
        self._true = joules
        return int(self._shown * 1000) / 1000


def on_physics(gpu: SimGpu, inlet: float, limit: float, faults: Iterable[Fault]) -> None:
    """Set what the active faults do to a die; ``inlet`` and ``limit`` are a healthy one's."""
    die, model = gpu.die, gpu.model
    die.inlet, die.limit = inlet, limit
    die.held_down, die.braked = 0, False
    for fault in faults:
        if fault.kind == "hot":
            die.inlet += fault.number_value()
        elif fault.kind == "power_cap":
            die.limit = min(limit, max(model.limit_min, fault.number_value()))
        elif fault.kind == "straggler":
            die.held_down = max(die.held_down, _steps(model, fault.number_value()))
        elif fault.kind == "power_brake":
            die.held_down, die.braked = max(die.held_down, _steps(model, 0.5)), True


def _steps(model: GpuModel, share: float) -> int:
    """Return the clock steps below the highest of a share of it, within what the GPU has."""
    lowest = (model.sm_clock - model.sm_clock_idle) // CLOCK_STEP
    return max(0, min(lowest, round((1 - share) * model.sm_clock / CLOCK_STEP)))


def program_of(fault: Fault, model: GpuModel, tick: int) -> Program | None:
    """Return what a fault has run on a GPU in place of its job's program, or None."""
    memory = Training.memory_used
    loads = {
        "idle": _WAITING,
        "stray": _WAITING,
        "stalled": stuck(model),
        "overdraw": DENSE,
        "swing": DENSE,
        "current_limited": _MODEST,
    }
    load = loads.get(fault.kind)
    if load is None:
        return None
    half = fault.number_value() if fault.kind == "swing" else 0
    return Fixed(tick, load, memory_used=memory, half_period=half)


_MODEST = dataclasses.replace(DENSE, tensor=0.35, dram=0.3)
"""A load that stays well below the power limit."""
