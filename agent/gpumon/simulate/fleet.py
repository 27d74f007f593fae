"""All nodes of a simulated fleet, its site, and the faults that it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from gpumon.clock import Clock
from gpumon.errors import UsageError
from gpumon.model.site import SiteNodeReading, SiteReading
from gpumon.simulate.clock import FleetClock
from gpumon.simulate.faults import Fault, parse_fault
from gpumon.simulate.fleetplan import FleetPlan
from gpumon.simulate.jobs import Timeline, shifts, slots_of
from gpumon.simulate.node import FleetNode
from gpumon.simulate.surroundings import Lane
from gpumon.site.nodes import SiteNode
from gpumon.site.service import readings_of, site_reading
from gpumon.sources.sim.physics import STRIDE, WIDEST_STRIDE
from gpumon.thresholds import Thresholds

MOST_FAULTS = 100_000

MOST_GPU_SECONDS = 20_000
"""GPU-seconds that may be asked for in a second: a quarter of a core, at some 12 us each."""

MANY_GPUS = 2000
"""A larger fleet goes on in steps of three seconds, a smaller one in steps of one."""


class SimFleet:
    """The nodes by name; belongs to one event loop."""

    def __init__(
        self,
        plan: FleetPlan,
        base: Clock,
        *,
        start: float | None = None,
        speed: float = 1.0,
        stride: int | None = None,
    ) -> None:
        """Open the fleet at unix second ``start`` (the base's own without one).

        ``stride`` is the ticks of its steps, if its size is not to choose.
        """
        total = sum(map(plan.gpus_of, plan.nodes))
        if speed > 1 and speed * total > MOST_GPU_SECONDS:
            most = max(1, MOST_GPU_SECONDS // total)
            raise UsageError(f"{total} GPUs at --speed {speed:g}", f"use {most} or less")
        self.plan = plan
        self.clock = FleetClock(base, start=start, speed=speed)
        slots = slots_of(plan)
        self._timelines = {slot.number: Timeline(plan, slot) for slot in slots}
        lanes: dict[str, list[Lane]] = {node.node: [] for node in plan.nodes}
        for slot in slots:
            for name, gpus in slot.gpus.items():
                lanes[name].append(Lane(self._timelines[slot.number], gpus))
        if stride is None:
            stride = WIDEST_STRIDE if total > MANY_GPUS else STRIDE
        programs = shifts(plan, slots, self._timelines, self.clock.start)
        self.nodes = {
            node.node: FleetNode(
                node, plan, lanes[node.node], programs[node.node], self.clock, stride
            )
            for node in plan.nodes
        }
        self._slots = slots
        self._faults: dict[int, Fault] = {}
        self._number = 0

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds of the fleet's agents."""
        return self.plan.site.thresholds

    @property
    def faults(self) -> list[Fault]:
        """All faults there are, were, and will be, in order."""
        return list(self._faults.values())

    def add_faults(self, texts: list[str]) -> list[Fault]:
        """Let faults begin, all or none; UsageError if one is wrong."""
        now, first = self.clock.seconds(), self._number + 1
        if first + len(texts) > MOST_FAULTS:
            raise UsageError(f"more than {MOST_FAULTS} faults", "start the simulation again")
        new = [
            parse_fault(text, self.plan, number=first + place, now=now)
            for place, text in enumerate(texts)
        ]
        self._number += len(new)
        self._faults.update({fault.number: fault for fault in new})
        self._spread()
        return new

    def end_faults(self, numbers: list[int] | None = None) -> int:
        """End faults that last, all of them without numbers; return how many.

        One that has not begun never will.
        """
        now, ended = self.clock.seconds(), 0
        for number in list(self._faults) if numbers is None else numbers:
            fault = self._faults.get(number)
            if fault is None or (fault.end is not None and fault.end <= now):
                continue
            ended += 1
            if fault.begun(now):
                self._faults[number] = dataclasses.replace(fault, end=now)
            else:
                del self._faults[number]
        self._spread()
        return ended

    def site_answers(self) -> bool:
        """Return whether the site's service is there."""
        now = self.clock.seconds()
        return not any(f.kind == "site_dead" and f.active(now) for f in self._faults.values())

    def site_reading(self) -> SiteReading:
        """Return what the site's service would serve now."""
        now = self.clock.seconds()
        active = {f.kind: str(f.value) for f in self._faults.values() if f.active(now)}
        collectors = {"config": 1, "slurm": 1}
        if "site_collector" in active:
            collectors[active["site_collector"]] = 0
        reading = site_reading(self.plan.site, self.clock.time(), collectors)
        ages = dict(reading.fact_age_seconds or {})
        lifetimes = reading.fact_lifetime_seconds or {}
        stale = active.get("fact_stale")
        if stale is not None:
            ages[stale] = 3 * lifetimes.get(stale, 3600.0)
        return dataclasses.replace(reading, fact_age_seconds=ages)

    def node_readings(self) -> list[SiteNodeReading]:
        """Return what the site's service would say of each node."""
        nodes = [self._scheduled(node) for node in self.nodes.values()]
        return readings_of(self.plan.site, nodes)

    def targets(self, address: str) -> list[dict[str, object]]:
        """Return what to scrape, as ``http_sd_configs`` wants it; all of it at one address."""
        return [
            {
                "targets": [address],
                "labels": {
                    **node.place.target_labels(self.plan.site.cluster, self.plan.site.name),
                    "instance": f"{name}:9842",
                    "__metrics_path__": f"/nodes/{name}/metrics",
                },
            }
            for name, node in self.nodes.items()
            if node.active("unlisted") is None
        ]

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Yield the jobs that run now."""
        now = self.clock.seconds()
        for slot in self._slots:
            span = self._timelines[slot.number].at(now)
            if span is not None:
                yield {
                    **span.job.facts(),
                    "kind": span.kind,
                    "nodes": sorted(slot.gpus),
                    "gpus": sum(len(gpus) for gpus in slot.gpus.values()),
                }

    def _scheduled(self, node: FleetNode) -> SiteNode:
        fault = node.active("scheduler")
        state = str(fault.value) if fault else "allocated" if node.busy else "idle"
        return dataclasses.replace(node.place, state="down" if node.active("node_dead") else state)

    def _spread(self) -> None:
        for name, node in self.nodes.items():
            node.set_faults(fault for fault in self._faults.values() if name in fault.gpus)
