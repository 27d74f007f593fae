"""A simulated node: its dies, what they work on, and what their driver says of them.

Nothing here looks at a clock: its caller says how far a node goes on. A simulator of many nodes
keeps many of these and goes on in strides.
"""

from __future__ import annotations

import functools
import typing
from typing import Any

from gpumon.model import (
    EnergyInfo,
    FabricInfo,
    GpuProcess,
    GpuReading,
    GpuState,
    PowerSample,
)
from gpumon.sources.sim.identity import identity
from gpumon.sources.sim.models import MIB, NVLINK_ERROR_KINDS, GpuModel
from gpumon.sources.sim.physics import CLOCK_STEP, STRIDE, Die, Traits
from gpumon.sources.sim.workload import TICKS_PER_SECOND, Program, Totals, smoothed

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

    from gpumon.sources.sim.options import SimOptions
    from gpumon.sources.sim.workload import Load

MEGA = 1_000_000

LOST = "the GPU switched itself off at {:g} degrees C (Xid 79: GPU has fallen off the bus)"

WARM_UP = 60 * TICKS_PER_SECOND
"""Ticks before tick 0 from which on it is simulated, so that a node begins warm."""

_FINE_WARM_UP = 2 * TICKS_PER_SECOND
"""Ticks before tick 0 that are simulated finely: a second's mean, and the controller's swing."""

FP32_OF_SM = 0.15
"""Single-precision pipes beside tensor work (norms, softmax, optimiser): assumed, not measured."""

_FIRST_PID = 4000

_KINDS_OF_A_LINK = ("replay", "recovery", "crc", "recovery_failed", "effective", "symbol")
"""Kinds of NVLink errors that the driver reports for each link."""

_FABRIC = "00000000-0000-0000-0000-000000000000"
"""The cluster of a fabric that is one node's alone."""

_FABRIC_CONDITIONS = ("degraded_bandwidth", "route_recovery", "route_unhealthy", "join_failed")

_LOCATIONS = [
    (error, location) for error in ("corrected", "uncorrected") for location in ("dram", "sram")
]


ORIGINS_NUMBER = 1
"""Of the one table of origins that simulated readings have."""


class SimNode:
    """GPUs of one model in one chassis; seconds count from the opening, ``start`` in unix time."""

    def __init__(self, options: SimOptions, start: float, programs: Sequence[Program]) -> None:
        """Bring the node to the steady state of its workload; its counters begin here.

        ``programs`` are those of its GPUs, from WARM_UP ticks before the opening on; GPUs that work
        in step share theirs.
        """
        self._start = start
        self.gpus = [SimGpu(options, index, program) for index, program in enumerate(programs)]
        self.tick = -WARM_UP
        self._warm_up()

    def _warm_up(self) -> None:
        """Let the poles of heat, of minutes, catch up in a few steps of mean power."""
        for until in (-2 * WARM_UP // 3, -WARM_UP // 3):
            before = [gpu.die.joules for gpu in self.gpus]
            seconds = (until - self.tick) / TICKS_PER_SECOND
            self._run(until, STRIDE)
            for gpu, joules in zip(self.gpus, before, strict=True):
                gpu.die.place_heat((gpu.die.joules - joules) / seconds)
        self._run(-_FINE_WARM_UP, STRIDE)
        self._run(-TICKS_PER_SECOND, 1)
        for gpu in self.gpus:
            gpu.begin()
        self._run(0, 1)
        for gpu in self.gpus:
            gpu.die.rebase()

    def advance(self, seconds: float, stride: int = 1) -> None:
        """Go on to the grid's last point (multiple of ``stride`` ticks) up to ``seconds``."""
        # The product may fall short of a whole tick by a rounding.
        tick = int(seconds * TICKS_PER_SECOND + 1e-6)
        self._run(tick - tick % stride, stride)

    def _run(self, tick: int, stride: int) -> None:
        if tick <= self.tick:
            return
        # Those that work in step share a program, which goes on once.
        pieces: dict[Program, list[tuple[int, Load]]] = {}
        for gpu in self.gpus:
            if gpu.program not in pieces:
                passed = gpu.program.advance(tick)
                pieces[gpu.program] = (
                    smoothed(passed, self.tick, stride) if stride > STRIDE else passed
                )
            gpu.die.run(pieces[gpu.program], stride)
        self.tick = tick

    def readings(self, time: float, read_at: float) -> tuple[GpuReading, ...]:
        """Return what the driver says now, of every GPU; see GpuReading for the times."""
        return tuple(gpu.reading(self._start, time, read_at) for gpu in self.gpus)


class SimGpu:
    """One GPU: the die, its program, and the driver's view of both."""

    def __init__(self, options: SimOptions, index: int, program: Program) -> None:
        """Put a GPU into slot ``index``."""
        self.model = options.model
        self.program = program
        self.identity = identity(options.model, options.seed, index)
        self.traits = Traits.draw(f"{options.seed}/{options.model.key}/{index}")
        # Every other GPU stands in the air that another has warmed.
        warmer = options.model.thermal.odd_slot if index % 2 else 0.0
        self.die = Die(
            options.model,
            self.traits,
            limit=options.power_limit,
            inlet=options.ambient + warmer,
            tick=program.tick,
        )
        # What never changes, once: a reading is a copy of it.
        self._board = GpuReading(
            identity=self.identity,
            state=GpuState.OK,
            time=0.0,
            read_at=0.0,
            origins=ORIGINS_NUMBER,
            **_constant(options.model),
        )
        self._began = self._since = Totals()
        self._means: dict[str, float] = {}

    def begin(self) -> None:
        """Let the means of the first reading, and its samples, begin here."""
        self._since = self._began = self.program.totals()
        self.die.samples.clear()

    def switch(self, program: Program) -> None:
        """Go on with another program, which is at the same tick; counters and means go on."""
        before, after = self.program.totals(), program.totals()
        self._began = after.minus(before.minus(self._began))
        self._since = after.minus(before.minus(self._since))
        self.program = program

    def reading(self, start: float, time: float, read_at: float) -> GpuReading:
        """Return the reading now; means and samples are those since the reading before."""
        die = self.die
        samples = tuple(
            PowerSample(start + tick / TICKS_PER_SECOND, _milli(watts))
            for tick, watts in die.samples
        )
        die.samples.clear()
        if die.lost:
            return GpuReading(
                identity=self.identity,
                state=GpuState.LOST,
                time=time,
                read_at=read_at,
                reason=LOST.format(self.model.thermal.shutdown),
            )
        utilization, access = self.program.recent_utilization()
        return self._board.changed(
            time=time,
            read_at=read_at,
            power_samples=samples,
            power_watts=self._power(),
            energy_joules=int(die.marks[-1][1] * 1000) / 1000,
            # The driver says whole degrees; cut off, not rounded, so that a margin of 0 is one.
            temperature_celsius=float(int(die.temperature)),
            memory_temperature_celsius=float(int(die.memory_temperature)),
            temperature_margin_celsius=float(
                self.model.thermal.max_operating - int(die.temperature)
            ),
            utilization_ratio=round(utilization, 2),
            memory_access_ratio=round(access, 2),
            memory_used_bytes=self._memory_used(),
            clock_hertz={
                "sm": self._sm_clock() * MEGA,
                "memory": self.model.memory_clock * MEGA,
            },
            throttle_seconds=self._throttle_seconds(),
            throttle_reasons=die.reasons(),
            processes=int(bool(self.program.load.context)),
            held_by=self._processes(utilization),
            power_limit_watts=die.limit,
            power_limit_requested_watts=die.limit,
            **self._activity(),
        )

    def _processes(self, utilization: float) -> tuple[GpuProcess, ...]:
        if not self.program.load.context:
            return ()
        return (
            GpuProcess(
                pid=_FIRST_PID + self.identity.index,
                kind="compute",
                memory_bytes=self._memory_used(),
                sm_ratio=round(utilization, 2),
                user="sim",
                uid=1000,
                name="python3",
            ),
        )

    def _power(self) -> float:
        """Return a second's mean, or on GA100 the sample of 25 ms that is held for 100 ms."""
        return _milli(self.die.mean_watts() if self.model.averages_power else self.die.sample_watts)

    def _sm_clock(self) -> int:
        if not self.program.load.context:
            return self.model.sm_clock_idle
        return self.model.sm_clock - CLOCK_STEP * self.die.down

    def _memory_used(self) -> int:
        free = (self.model.memory_mib - self.model.reserved_mib) * MIB
        used = int(free * self.program.memory_used * self.traits.activity)
        return used - used % (2 * MIB)  # the size of a page

    def _throttle_seconds(self) -> dict[str, float]:
        die = self.die
        ticks = {"sw_power_cap": die.capped_ticks, "sync_boost": 0}
        if self.model.has_gpm:  # fields 269-271 came with Hopper
            ticks |= {
                "sw_thermal": die.sw_thermal_ticks,
                "hw_thermal": die.hw_thermal_ticks,
                "hw_power_brake": die.brake_ticks,
            }
        return {reason: count / TICKS_PER_SECOND for reason, count in ticks.items()}

    def _activity(self) -> dict[str, Any]:
        """Return traffic since the beginning and mean activities since the last reading."""
        now, began = self.program.totals(), self._began
        nvlink = int(now.nvlink - began.nvlink)
        nvlink -= nvlink % 1024  # the counters count KiB
        values: dict[str, Any] = {
            "nvlink_transmit_bytes": nvlink,
            "nvlink_receive_bytes": nvlink,
            **_each_link(self.model.nvlinks, nvlink),
        }
        if self.model.has_gpm:
            values["pcie_transmit_bytes"] = int(now.pcie_transmit - began.pcie_transmit)
            values["pcie_receive_bytes"] = int(now.pcie_receive - began.pcie_receive)
            values |= self._means_since(now)
        return values

    def _means_since(self, now: Totals) -> dict[str, float]:
        before, share = self._since, self.traits.activity
        seconds = now.seconds - before.seconds
        if seconds > 0:
            share /= seconds
            self._means = {
                "sm_active_ratio": (now.sm - before.sm) * share,
                "sm_occupancy_ratio": (now.occupancy - before.occupancy) * share,
                "tensor_active_ratio": (now.tensor - before.tensor) * share,
                "dram_active_ratio": (now.dram - before.dram) * share,
                "fp16_active_ratio": 0.0,
                "fp32_active_ratio": FP32_OF_SM * (now.sm - before.sm) * share,
                "fp64_active_ratio": 0.0,
                "pcie_transmit_bytes_per_second": (now.pcie_transmit - before.pcie_transmit)
                / seconds,
                "pcie_receive_bytes_per_second": (now.pcie_receive - before.pcie_receive) / seconds,
                "nvlink_transmit_bytes_per_second": (now.nvlink - before.nvlink) / seconds,
                "nvlink_receive_bytes_per_second": (now.nvlink - before.nvlink) / seconds,
            }
            if self.model.power.dram_idle is not None:
                watts = self.model.power.dram_idle
                watts += self.model.power.dram * self._means["dram_active_ratio"]
                self._means["memory_power_watts"] = _milli(watts)
            self._since = now
        return self._means


def _milli(watts: float) -> float:
    """Round to the milliwatts that the driver speaks in."""
    return round(watts * 1000) / 1000


@functools.cache
def _names_of(links: int) -> tuple[str, ...]:
    return tuple(map(str, range(links)))


def _each_link(links: int, total: int) -> dict[str, dict[str, int]]:
    """Return the traffic of each link, which share it evenly."""
    each = dict.fromkeys(_names_of(links), total // links)
    return {"nvlink_link_transmit_bytes": each, "nvlink_link_receive_bytes": each}


def _thresholds(model: GpuModel) -> dict[str, Any]:
    """Return the temperatures at which something happens; Hopper and later give them as margins."""
    heat = model.thermal
    if not model.has_gpm:
        absolute = {
            "slowdown": heat.slowdown,
            "memory_max": heat.memory_max,
            "gpu_max": heat.max_operating,
        }
        return {
            "temperature_threshold_celsius": absolute,
            "temperature_shutdown_celsius": float(heat.shutdown),
        }
    margins = {
        "shutdown": heat.max_operating - heat.shutdown,
        "slowdown": heat.max_operating - heat.slowdown,
        "memory_max": 0.0,
        "gpu_max": 0.0,
    }
    return {"temperature_margin_threshold_celsius": margins}


@functools.cache
def _constant(model: GpuModel) -> dict[str, Any]:
    """Return the readings that never change, of a board without a fault."""
    link_numbers = _names_of(model.nvlinks)
    kinds = NVLINK_ERROR_KINDS[model.nvlink_version]
    told = set(_KINDS_OF_A_LINK) & set(kinds)
    constant: dict[str, Any] = {
        "power_limit_default_watts": model.limit_default,
        "energy_info": EnergyInfo("counter"),
        "energy_error_ratio": 0.0,
        "memory_total_bytes": model.memory_mib * MIB,
        "memory_reserved_bytes": model.reserved_mib * MIB,
        "clock_max_hertz": {"sm": model.sm_clock * MEGA, "memory": model.memory_clock * MEGA},
        "pcie_replays": 0,
        "pcie_link_generation": model.pcie_generation,
        "pcie_link_generation_max": model.pcie_generation,
        "pcie_link_width": 16,
        "pcie_link_width_max": 16,
        "nvlink_links": model.nvlinks,
        "nvlink_links_active": model.nvlinks,
        "nvlink_errors": dict.fromkeys(kinds, 0),
        "nvlink_link_up": dict.fromkeys(link_numbers, True),
        "nvlink_link_errors": {(kind, link): 0 for kind in sorted(told) for link in link_numbers},
        "ecc_errors": dict.fromkeys(_LOCATIONS, 0),
        "ecc_lifetime_errors": dict.fromkeys(_LOCATIONS, 0),
        "remapped_rows": {"corrected": 0, "uncorrected": 0},
        "row_remap_pending": False,
        "row_remap_failed": False,
        "remap_banks": {"max": model.remap_banks, "high": 0, "partial": 0, "low": 0, "none": 0},
        "remap_banks_exhausted": 0,
        "persistence_mode": True,
        "power_limit_min_watts": model.limit_min,
        "power_limit_max_watts": model.limit_max,
        "performance_state": 0,
        "encoder_utilization_ratio": 0.0,
        "decoder_utilization_ratio": 0.0,
        "nvlink_version": float(model.nvlink_version),
        "nvlink_link_bandwidth_bytes_per_second": dict.fromkeys(
            link_numbers, int(model.nvlink_bandwidth / model.nvlinks)
        ),
        **_thresholds(model),
        "ecc_mode": True,
        "ecc_mode_pending": True,
        "ecc_mode_default": True,
        "mig_mode": False,
        "recovery_action": "none",
    }
    if model.has_gpm:  # the fabric's state came with Hopper; a DGX is clique 0 of no cluster
        constant |= {
            "fabric_state": "completed",
            "fabric_status": 0,
            "fabric_info": FabricInfo(
                "00000000-0000-0000-0000-000000000000", 0, partition_assigned=True
            ),
            "fabric_unhealthy": dict.fromkeys(_FABRIC_CONDITIONS, False),
        }
    return constant
