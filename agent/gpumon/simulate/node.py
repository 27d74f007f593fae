"""One node of the fleet: simulated GPUs and jobs, under the agent's own code."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterable, Sequence

from gpumon.exposition import Encoder, Format
from gpumon.ledger import Ledger
from gpumon.ledger.ledger import Books
from gpumon.model import (
    GpuReading,
    Snapshot,
    SourceInfo,
    SxidEvent,
    Tier,
    XidEvent,
)
from gpumon.model.events import LOG, kernel_address
from gpumon.server.app import exposition
from gpumon.server.bookkeeper import BookKeeper
from gpumon.server.chronicle import Chronicle
from gpumon.server.identities import Identities
from gpumon.server.node import Node
from gpumon.server.parts import NodeParts
from gpumon.server.xidmemory import XidMemory
from gpumon.simulate.clock import FleetClock
from gpumon.simulate.effects import EnergyCounter, in_readings, on_physics, program_of
from gpumon.simulate.faults import Fault
from gpumon.simulate.fleetplan import FleetPlan
from gpumon.simulate.surroundings import Forgetful, Lane, Scheduler, SimClock, SimHost
from gpumon.site.nodes import SiteNode
from gpumon.sources.sim.node import SimNode
from gpumon.sources.sim.options import SimOptions
from gpumon.sources.sim.physics import STRIDE
from gpumon.sources.sim.source import ORIGINS
from gpumon.sources.sim.workload import TICKS_PER_SECOND, Program
from gpumon.statedb.expected import ExpectedGpus
from gpumon.statedb.file import StateFile

GAP_SECONDS = 300.0
"""A simulated agent ticks when it is scraped, and not every second: that is not a gap."""

TICK_SECONDS = 30.0
"""The agent sees the GPUs at least so often, however seldom it is scraped: over more than a minute
between two readings it believes no power."""

READ_SECONDS = 0.02
"""How long a reading took."""

RACK_KELVINS = 2.5
"""Racks stand in air that differs by so much either way (assumed)."""

NOWHERE = "0000:fe:00"
"""A PCI address at which no simulated GPU stands."""


class FleetNode:
    """A node that goes on when it is looked at."""

    def __init__(
        self,
        place: SiteNode,
        plan: FleetPlan,
        lanes: Sequence[Lane],
        programs: Sequence[Program],
        clock: FleetClock,
        stride: int = STRIDE,
    ) -> None:
        """Open it, warm; ``programs`` are those of its GPUs, ``stride`` the ticks of its steps."""
        self.place = place
        self._plan = plan
        self._clock = clock
        air = random.Random(f"air/{plan.seed}/{place.hall}/{place.row}/{place.rack}")
        self._ambient = plan.model.thermal.inlet + air.uniform(-RACK_KELVINS, RACK_KELVINS)
        options = SimOptions(
            model=plan.model,
            count=len(programs),
            seed=random.Random(f"node/{plan.seed}/{place.node}").getrandbits(32),
            power_limit=plan.model.limit_default,
            ambient=self._ambient,
        )
        self._sim = SimNode(options, clock.start, programs)
        self._own = list(programs)
        self._inlets = [gpu.die.inlet for gpu in self._sim.gpus]
        self._counters: dict[int, EnergyCounter] = {}
        self._stood_in: dict[int, int] = {}
        uuids = [gpu.identity.uuid for gpu in self._sim.gpus]
        self._scheduler = Scheduler(lanes, uuids, clock)
        self._host = SimHost()
        self._node_clock = SimClock(place.node)
        state = StateFile(None)
        self._xids = XidMemory(state, clock)
        self._info = dataclasses.replace(_INFO, detail=f"{len(programs)}x{plan.model.key}")
        chronicle = Chronicle(state, clock)
        parts = NodeParts(
            expected=ExpectedGpus(len(programs), state),
            identities=Identities(state),
            xids=self._xids,
            chronicle=chronicle,
            books=BookKeeper(
                Ledger(
                    Books(),
                    Forgetful(),
                    active_ratio=plan.site.thresholds.number("activity.idle_ratio"),
                    idle_seconds=plan.site.thresholds.seconds("activity.idle_window"),
                    gap_seconds=GAP_SECONDS,
                ),
                self._scheduler,
                chronicle=chronicle,
                host=self._host,
                clock=clock,
            ),
            host=self._host,
            clock=self._node_clock,
            thresholds=plan.site.thresholds,
        )
        self._agent = Node(place.node, self._info, parts, interval=GAP_SECONDS, clock=clock)
        self._faults: tuple[Fault, ...] = ()
        self._told: set[int] = set()
        self._mended: set[int] = set()
        self._restarts: dict[int, int] = {}
        self._stale: tuple[GpuReading, ...] = ()
        self._stride = stride
        self._encoders: dict[tuple[Format, Tier], Encoder] = {}

    @property
    def busy(self) -> bool:
        """Whether a job holds any of its GPUs now."""
        return self._scheduler.busy()

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """Take note of all faults that are or were this node's."""
        self._faults = tuple(faults)

    def active(self, kind: str) -> Fault | None:
        """Return the last fault of a kind that is there now, or None."""
        now = self._clock.seconds()
        found = (f for f in reversed(self._faults) if f.kind == kind and f.active(now))
        return next(found, None)

    def scrape(self, format_: Format, tier: Tier = Tier.STANDARD) -> bytes:
        """Go on to now and return what the agent would serve to clients that may see users."""
        self.advance()
        encoder = self._encoders.get((format_, tier))
        if encoder is None:
            encoder = self._encoders[format_, tier] = Encoder(format_, tier)
        return exposition(self._agent, encoder, "", users=True, monotonic=self._clock.monotonic())

    def look(self) -> Snapshot | None:
        """Go on to now and return what the agent knows; None before its first reading."""
        self.advance()
        return self._agent.now()

    def advance(self) -> None:
        """Go on to now, with a tick of the agent at least each half minute."""
        now, last = self._clock.seconds(), self._sim.tick / TICKS_PER_SECOND
        ticks = max(1, math.ceil((now - last) / TICK_SECONDS))
        for tick in range(1, ticks):
            self._tick(last + (now - last) * tick / ticks)
        self._tick(now)

    def _tick(self, now: float) -> None:
        """Go on to a moment, and have the agent see it."""
        begun = tuple(fault for fault in self._faults if fault.begun(now))
        active = tuple(fault for fault in begun if fault.active(now))
        self._run(now)
        # The readings are of the grid's last point: what happens does not depend on who looks when.
        at = self._sim.tick / TICKS_PER_SECOND
        time = self._clock.start + at
        readings = self._sim.readings(time, 1.0 + at)
        if begun:
            readings = self._disturbed(readings, begun, now)
        self._tell(begun, now)
        self._set_collectors(active)
        if any(fault.kind == "released" for fault in active):
            if not self._agent.released:
                self._agent.release("released for a repair that was forgotten")
            return
        if self._agent.released:
            self._agent.resume()
        self._host.tick(1.0 + at, sum(gpu.power_watts or 0.0 for gpu in readings))
        self._agent.snapshot(self._snapshot(time, readings, active))

    def _run(self, now: float) -> None:
        """Let the GPUs go on to now, stopping wherever a fault begins or ends on the way."""
        last = self._sim.tick / TICKS_PER_SECOND
        moments = {moment for fault in self._faults for moment in (fault.begin, fault.end)}
        stops = sorted(m for m in moments if m is not None and last <= m <= now)
        for moment in (*stops, now):
            self._sim.advance(moment, self._stride)
            if self._faults:
                self._disturb([fault for fault in self._faults if fault.active(moment)])

    def _set_collectors(self, active: Sequence[Fault]) -> None:
        """Have the scheduler and the host's collectors respond, or not; set the clock."""
        kinds = {fault.kind: fault for fault in active}
        self._scheduler.silent = "workload_silent" in kinds
        failing = kinds.get("collector")
        self._host.failing = str(failing.value) if failing else ""
        clock = kinds.get("clock")
        self._node_clock.ahead = clock.number_value() if clock else 0.0

    def _snapshot(
        self, time: float, readings: tuple[GpuReading, ...], active: Sequence[Fault]
    ) -> Snapshot:
        kinds = {fault.kind: fault for fault in active}
        info = self._info
        if "driver" in kinds:
            info = dataclasses.replace(info, driver_version=str(kinds["driver"].value))
        if "driver_dead" in kinds:
            reason = "the driver does not answer: look at dmesg"
            return Snapshot(time=time, source=info, up=False, errors=(reason,))
        if "missing" in kinds:
            readings = readings[: max(0, len(readings) - int(kinds["missing"].number_value()))]
        if "agent_stale" in kinds:
            readings = self._stale = self._stale or readings
        else:
            self._stale = ()
        return Snapshot(
            time=time, source=info, gpus=readings, origins=ORIGINS, read_seconds=READ_SECONDS
        )

    def _disturb(self, active: Sequence[Fault]) -> None:
        """Set what faults do to the physics, and to what runs."""
        free: set[int] = set()
        given: dict[int, str] = {}
        for gpu in self._sim.gpus:
            index = gpu.identity.index
            mine = [fault for fault in active if _is_of(fault, self.place.node, index)]
            on_physics(gpu, self._inlets[index], self._plan.model.limit_default, mine)
            free |= {index for fault in mine if fault.kind == "stray"}
            given.update((index, str(f.value)) for f in mine if f.kind == "other_job")
            self._stand_in(gpu.identity.index, mine)
            if any(fault.kind.startswith("energy_") for fault in mine):
                self._counters.setdefault(index, EnergyCounter(gpu.die.marks[-1][1]))
        self._scheduler.free, self._scheduler.given = frozenset(free), given

    def _stand_in(self, index: int, faults: Sequence[Fault]) -> None:
        """Have a fault's program run on a GPU in place of its own, or its own again."""
        gpu = self._sim.gpus[index]
        for fault in reversed(faults):
            program = program_of(fault, self._plan.model, self._sim.tick)
            if program is not None:
                if self._stood_in.get(index) != fault.number:
                    self._stood_in[index] = fault.number
                    gpu.switch(program)
                return
        if self._stood_in.pop(index, None) is not None:
            own = self._own[index]
            own.advance(self._sim.tick)
            gpu.switch(own)

    def _disturbed(
        self, readings: tuple[GpuReading, ...], begun: Sequence[Fault], now: float
    ) -> tuple[GpuReading, ...]:
        """Return the readings as the driver gives them under these faults."""
        found = []
        for reading in readings:
            index = reading.identity.index
            mine = [fault for fault in begun if _is_of(fault, self.place.node, index)]
            found.append(in_readings(self._counted(reading, mine, now), mine, now))
        return tuple(found)

    def _counted(self, reading: GpuReading, faults: Sequence[Fault], now: float) -> GpuReading:
        """Return a reading with what its energy counter shows under these faults."""
        counter = self._counters.get(reading.identity.index)
        if counter is None or reading.energy_joules is None:
            return reading
        active = [fault for fault in faults if fault.active(now)]
        return reading.changed(energy_joules=counter.show(reading.energy_joules, active))

    def _tell(self, begun: Sequence[Fault], now: float) -> None:
        """Have the agent hear, once, of what only happens."""
        for fault in begun:
            if fault.kind == "reader_restarts":
                due = int(fault.number_value() / 3600 * fault.lasted(now))
                while self._restarts.get(fault.number, 0) < due:
                    self._restarts[fault.number] = self._restarts.get(fault.number, 0) + 1
                    self._agent.restarted()
            self._mend(fault, now)
            if fault.number in self._told:
                continue
            self._told.add(fault.number)
            time = self._clock.start + fault.begin
            if fault.kind == "xid":
                self._xids.observe([self._xid(fault, gpu, time) for gpu in self._gpus_of(fault)])
            elif fault.kind == "unattributed_xid":
                self._xids.observe([XidEvent(time, 79, NOWHERE, LOG)])
            elif fault.kind == "sxid":
                code = int(fault.number_value())
                self._xids.observe([SxidEvent(time, code, "0000:05:00", 0, fatal=True)])

    def _mend(self, fault: Fault, now: float) -> None:
        """Have the agent hear, once, that what an Xid asked for was done at the fault's end."""
        if fault.end is None or fault.active(now) or fault.number in self._mended:
            return
        self._mended.add(fault.number)
        time = self._clock.start + fault.end
        if fault.kind == "xid":
            for index in self._gpus_of(fault):
                self._xids.was_reset(self._sim.gpus[index].identity.uuid, time)
        elif fault.kind == "sxid":
            self._xids.switches_were_reset(time)

    def _gpus_of(self, fault: Fault) -> list[int]:
        return [
            gpu.identity.index
            for gpu in self._sim.gpus
            if _is_of(fault, self.place.node, gpu.identity.index)
        ]

    def _xid(self, fault: Fault, index: int, time: float) -> XidEvent:
        pci = kernel_address(self._sim.gpus[index].identity.pci_bus_id)
        return XidEvent(time, int(fault.number_value()), pci, LOG, text="simulated")


_INFO = SourceInfo(
    "sim",
    driver_version="580.105.08",
    nvml_version="13.580.105.08",
    cuda_version="13.0",
    simulated=True,
)


def _is_of(fault: Fault, node: str, gpu: int) -> bool:
    gpus = fault.gpus.get(node, frozenset())
    return gpus is None or gpu in gpus
