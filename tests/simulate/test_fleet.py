"""The fleet: reproducible, in step, and made of the agent's own code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpumon.errors import UsageError
from gpumon.simulate.clock import SteppedClock
from gpumon.simulate.fleet import SimFleet
from gpumon.simulate.fleetplan import plan_fleet
from gpumon.simulate.jobs import Timeline, slots_of
from gpumon.sources.sim.physics import STRIDE, WIDEST_STRIDE
from tests.simulate.conftest import SteppedFleet
from tests.support.exposition import Exposition
from tests.support.servers import ROOT, run_agent

Make = Callable[..., SteppedFleet]


def labels_of(text: str) -> dict[str, frozenset[str]]:
    """Return the metrics of an exposition with the names of their labels."""
    exposition = Exposition(text)
    return {
        name: frozenset(label for key in exposition.all(name) for label, _ in key)
        for name in dict.fromkeys(exposition.names())
    }


class TestSeed:
    """The same seed gives the same hour."""

    def test_the_same_to_the_last_digit(self, make_fleet: Make) -> None:
        """Two fleets, scraped alike, with the same faults: the same expositions."""
        fleets = make_fleet(), make_fleet()
        for each in fleets:
            each.fleet.add_faults(["xid=48@n0002:1,start=60s", "hot=20@rack:r002"])
            each.after(3600, step=60)
        for node in fleets[0].fleet.nodes:
            assert fleets[0].text(node) == fleets[1].text(node)

    def test_who_looks_when_does_not_matter(self, make_fleet: Make) -> None:
        """Power and joules at a moment do not depend on how often they were read before."""
        often, seldom = make_fleet(), make_fleet()
        for each in (often, seldom):
            each.fleet.add_faults(
                ["straggler=0.4@n0001:0,start=35s,for=20s", "idle@n0001:1,start=50s,for=9s"]
            )
        often.after(120, step=5)
        seldom.after(120, step=40)
        for name in ("gpumon_gpu_power_watts", "gpumon_gpu_energy_joules_total"):
            assert often.values("n0001", name) == seldom.values("n0001", name)

    def test_another_seed_is_another_fleet(self, make_fleet: Make) -> None:
        """Other boards, other jobs, other noise."""
        one, other = make_fleet(seed=1), make_fleet(seed=2)
        assert one.text("n0001") != other.text("n0001")
        assert list(one.fleet.jobs()) != list(other.fleet.jobs())


class TestJobs:
    """Who holds what."""

    def test_every_gpu_is_in_one_slot(self) -> None:
        """No GPU is given out twice, and none is left out."""
        plan = plan_fleet(nodes=57, gpus=3, model="H100", seed=0, site=None)
        held = [(n, g) for slot in slots_of(plan) for n, gpus in slot.gpus.items() for g in gpus]
        assert len(held) == len(set(held)) == 57 * 3

    def test_a_job_over_many_nodes_dips_at_once(self, fleet: SteppedFleet) -> None:
        """The nodes of a training job compute and exchange at the same moments."""
        (job,) = [job for job in fleet.fleet.jobs() if len(job["nodes"]) > 2]
        watts: dict[str, list[float]] = {node: [] for node in job["nodes"]}
        for _ in range(60):
            fleet.after(1, step=1)
            for node, series in watts.items():
                series.append(sum(fleet.values(node, "gpumon_gpu_tensor_active_ratio")))
        first, *others = watts.values()
        # The same numbers but for what sets dies apart (activity: 1.5 %).
        for other in others:
            assert all(
                abs(a - b) <= 0.02 * max(a, b, 0.1) for a, b in zip(first, other, strict=True)
            )
        assert max(first) > 1.5 * min(first)

    def test_jobs_come_and_go(self, make_fleet: Make) -> None:
        """Over days jobs end, their GPUs stand free, and others begin."""
        fleet = make_fleet(nodes=24, gpus=2)
        slots = len(slots_of(fleet.fleet.plan))
        seen, free = set(), 0
        for _ in range(400):
            fleet.clock.step(900)
            jobs = list(fleet.fleet.jobs())
            seen |= {job["job_id"] for job in jobs}
            free += slots - len(jobs)
        assert len(seen) > 2 * slots
        assert 0 < free < 0.1 * 400 * slots

    def test_the_ledger_closes_on_every_node(self, make_fleet: Make) -> None:
        """Jobs and unallocated joules are the device's, through jobs and faults (design 5)."""
        fleet = make_fleet(nodes=2, gpus=2)
        fleet.fleet.add_faults(
            ["other_job@n0001:0,start=100s,for=200s", "lost@n0002:1,start=50s,for=90s"]
        )
        fleet.after(1200, step=30)
        for node in fleet.fleet.nodes:
            whole = sum(fleet.values(node, "gpumon_ledger_energy_joules_total"))
            parts = sum(
                sum(fleet.values(node, name))
                for name in (
                    "gpumon_job_gpu_energy_joules_total",
                    "gpumon_ended_jobs_energy_joules_total",
                    "gpumon_unallocated_energy_joules_total",
                )
            )
            assert whole > 0
            assert round(whole * 1000) == round(parts * 1000)

    def test_a_fault_from_the_opening_on_is_there_at_once(self, make_fleet: Make) -> None:
        """One of the command line is in force in the first step already."""
        fleet = make_fleet(nodes=1, gpus=1)
        fleet.fleet.add_faults(["power_cap=300@n0001:0"])
        fleet.after(60, step=60)
        (joules,) = fleet.values("n0001", "gpumon_gpu_energy_joules_total")
        assert joules < 60 * 310

    @given(moments=st.lists(st.floats(0, 2e6), min_size=1, max_size=12))
    @settings(max_examples=40, deadline=None)
    def test_who_asks_in_which_order_does_not_matter(self, moments: list[float]) -> None:
        """A slot's jobs are the same for a node that lags behind the others."""
        plan = plan_fleet(nodes=1, gpus=1, model="H100", seed=5, site=None)
        (slot,) = slots_of(plan)
        one, other = Timeline(plan, slot), Timeline(plan, slot)
        there = [(one.at(m), None if one.at(m) else one.next_begin(m)) for m in moments]
        back = [(other.at(m), None if other.at(m) else other.next_begin(m)) for m in moments[::-1]]
        assert there == back[::-1]


class TestPlan:
    """What fleet it is."""

    def test_racks_rows_and_halls(self) -> None:
        """Each node has its place, and every level its budget."""
        plan = plan_fleet(nodes=1000, gpus=8, model="H100", seed=0, site=None)
        assert len({node.rack for node in plan.nodes}) == 250
        assert {key[0] for key in plan.site.budgets} == {"site", "hall", "row", "rack"}
        assert all(node.hall and node.row and node.node_partition for node in plan.nodes)

    def test_a_site_file_is_the_fleet(self) -> None:
        """The example that ships, with its domain, racks and GPUs."""
        site = ROOT / "deploy" / "site" / "site.toml"
        plan = plan_fleet(nodes=None, gpus=4, model="B200", seed=0, site=site)
        assert len(plan.nodes) == 32
        assert plan.gpus_of(plan.nodes[0]) == 8

    @pytest.mark.parametrize(
        ("nodes", "gpus", "model", "says"),
        [
            (1, 5000, "H100", "use 1 to"),
            (10**6, 8, "H100", "use 1 to"),
            (1, 8, "H1000", "unknown GPU"),
        ],
    )
    def test_what_cannot_be_is_said(self, nodes: int, gpus: int, model: str, says: str) -> None:
        """One line with what would be right."""
        with pytest.raises(UsageError, match=says):
            plan_fleet(nodes=nodes, gpus=gpus, model=model, seed=0, site=None)

    def test_a_site_without_nodes(self, tmp_path: Path) -> None:
        """It says what to add."""
        site = tmp_path / "site.toml"
        site.write_text('cluster = "a"\n')
        with pytest.raises(UsageError, match="has no nodes"):
            plan_fleet(nodes=None, gpus=8, model="H100", seed=0, site=site)


def test_a_fleet_that_runs_ahead_keeps_its_books(make_fleet: Make) -> None:
    """Ten minutes between two scrapes: joules go on, and a stuck counter is noticed."""
    fleet = make_fleet(nodes=1, gpus=2)
    fleet.fleet.add_faults(["energy_stuck@n0001:1"])
    fleet.after(600, step=600)
    before = fleet.values("n0001", "gpumon_node_energy_joules_total")
    fleet.after(600, step=600)
    (joules,) = fleet.values("n0001", "gpumon_node_energy_joules_total")
    (watts,) = fleet.values("n0001", "gpumon_node_power_watts")
    assert joules - before[0] == pytest.approx(600 * watts, rel=0.4)
    assert re.search('gpumon_gpu_energy_suspect{gpu="1",.*reason="stuck"} 1', fleet.text("n0001"))


def test_too_fast_is_said() -> None:
    """What one process cannot keep up with is refused, with what it could."""
    plan = plan_fleet(nodes=1000, gpus=8, model="H100", seed=0, site=None)
    with pytest.raises(UsageError, match="use 2 or less"):
        SimFleet(plan, SteppedClock(0.0), speed=10)


def test_it_is_warm_by_rack(make_fleet: Make) -> None:
    """Racks stand in air of different warmth; nodes of a rack in the same."""
    fleet = make_fleet(nodes=16, gpus=2)
    inlets = {name: node._sim.gpus[0].die.inlet for name, node in fleet.fleet.nodes.items()}
    racks = {node.rack for node in fleet.fleet.plan.nodes}
    assert len(set(inlets.values())) == len(racks) == 4


def test_large_fleets_take_wider_steps(make_fleet: Make) -> None:
    """Joules over ten minutes are those of finer steps, within two per cent."""
    joules = []
    for stride in (STRIDE, WIDEST_STRIDE):
        fleet = make_fleet(nodes=1, gpus=8, stride=stride)
        fleet.after(600, step=15)
        joules.append(sum(fleet.values("n0001", "gpumon_gpu_energy_joules_total")))
    assert joules[0] == pytest.approx(joules[1], rel=0.02)


@pytest.mark.e2e
def test_it_serves_what_an_agent_serves(fleet: SteppedFleet, tmp_path: Path) -> None:
    """The same metrics with the same labels, but for what only a real process or Slurm has."""
    fleet.after(60)
    with run_agent(tmp_path, "sim:4xH100") as agent:
        real = labels_of(agent.metrics())
    ours = labels_of(fleet.text("n0001"))
    of_a_process = {n for n in real if n.startswith(("process_", "gpumon_reader_process_"))}
    # A BMC's readings and a clock are the simulated node's; an agent on simulated GPUs has no host.
    host = "gpumon_(node_(power|energy|cpu|memory)|clock|boot)"
    of_a_host = {name for name in ours if re.match(host, name)}
    of_a_host.add("gpumon_job_host_energy_joules_total")
    assert ours.keys() - of_a_host == real.keys() - of_a_process
    for name in ours.keys() & real.keys():
        assert ours[name] == real[name], name
