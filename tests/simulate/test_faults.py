"""Faults: how they are written, and that each does what it says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import pytest

from gpumon.errors import UsageError
from gpumon.simulate.faults import KINDS, FaultScope, parse_fault
from gpumon.simulate.fleetplan import plan_fleet
from tests.simulate.conftest import SteppedFleet

PLAN = plan_fleet(nodes=9, gpus=4, model="H100", seed=0, site=None)


class TestParsing:
    """KIND[=VALUE]@WHERE[,start=…][,for=…]."""

    def test_a_whole_one(self) -> None:
        """Kind, value, GPU, beginning and end are read, from the present on."""
        fault = parse_fault("xid=48@n0003:2,start=60s,for=10m", PLAN, number=1, now=100)
        assert (fault.kind, fault.value) == ("xid", 48)
        assert fault.gpus == {"n0003": frozenset({2})}
        assert (fault.begin, fault.end) == (160, 760)
        assert not fault.active(159)
        assert fault.active(160)
        assert not fault.active(760)

    def test_defaults(self) -> None:
        """A kind's usual value, all GPUs of a node, now, for ever."""
        fault = parse_fault("pcie_width@n0001", PLAN, number=1, now=5)
        assert (fault.value, fault.begin, fault.end) == (8, 5, None)
        assert fault.gpus == {"n0001": None}

    @pytest.mark.parametrize(
        ("where", "count"), [("rack:r002", 4), ("row:row1", 9), ("hall:h1", 9), ("site", 9)]
    )
    def test_places(self, where: str, count: int) -> None:
        """A rack, a row, a hall or the site stands for all its nodes."""
        assert len(parse_fault(f"hot@{where}", PLAN, number=1, now=0).gpus) == count

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("hot", "write KIND"),
            ("hto@n0001", "did you mean hot?"),
            ("hot=warm@n0001", "is not a number"),
            ("hot=nan@n0001", "is not a number"),
            ("lost=3@n0001:0", "has no value"),
            ("recovery=pray@n0001:0", "is one of"),
            ("hot@n0010", "no node 'n0010'"),
            ("hot@rack:r009", "no rack 'r009'"),
            ("hot@n0001:4", "a GPU from 0 to 3"),
            ("hot@n0001:x", "a GPU from 0 to 3"),
            ("agent_dead@n0001:1", "no GPU"),
            ("fact_stale@n0001", "write @site"),
            ("hot@n0001,fro=3s", "known are start and for"),
            ("hot@n0001,for=soon", "not a duration"),
            ("hot@n0001,start=99999999999d", "is too long"),
            ("lost@n0001:\u00b2", "a GPU from 0 to 3"),
            ("vbios=\ud800@n0001:0", "write KIND"),
            ("collector=banana@n0001", "is one of"),
        ],
    )
    def test_a_wrong_one_is_explained(self, text: str, says: str) -> None:
        """One line that says what would be right."""
        with pytest.raises(UsageError, match=re.escape(says)):
            parse_fault(text, PLAN, number=1, now=0)


ECC = "gpumon_gpu_ecc_errors_total"
GPU0 = r'gpu="0",uuid="[^"]+"'

# Each fault, on GPU 0 of the first node (or on the node), and the line that shows it.
SHOWS = {
    "lost": rf'gpumon_gpu_state{{{GPU0},state="lost"}} 1',
    "hung": rf'gpumon_gpu_state{{{GPU0},state="hung"}} 1',
    "reset_required": rf'gpumon_gpu_state{{{GPU0},state="reset_required"}} 1',
    "error": rf'gpumon_gpu_state{{{GPU0},state="error"}} 1',
    "xid": rf'gpumon_gpu_xid_errors_total{{{GPU0},xid="79"}} 1',
    "recovery": rf'gpumon_gpu_recovery_action{{{GPU0},action="gpu_reset"}} 1',
    "ecc_uncorrected": rf'{ECC}{{{GPU0},error="uncorrected",location="dram"}} 1',
    "ecc_corrected": rf'{ECC}{{{GPU0},error="corrected",location="dram"}} [1-9]',
    "remap_pending": rf"gpumon_gpu_row_remap_pending{{{GPU0}}} 1",
    "remap_failed": rf"gpumon_gpu_row_remap_failed{{{GPU0}}} 1",
    "remap_exhausted": rf"gpumon_gpu_remap_banks_exhausted{{{GPU0}}} 1",
    "sram_exceeded": rf"gpumon_gpu_sram_threshold_exceeded{{{GPU0}}} 1",
    "nvlink_down": rf"gpumon_gpu_nvlink_links_active{{{GPU0}}} 17",
    "nvlink_errors": rf'gpumon_gpu_nvlink_errors_total{{{GPU0},kind="recovery"}} [1-9]',
    "fabric_stuck": rf'gpumon_gpu_fabric_state{{{GPU0},state="in_progress"}} 1',
    "fabric_unhealthy": rf'gpumon_gpu_fabric_unhealthy{{{GPU0},condition="degraded_bandwidth"}} 1',
    "pcie_width": rf"gpumon_gpu_pcie_link_width{{{GPU0}}} 8",
    "pcie_generation": rf"gpumon_gpu_pcie_link_generation{{{GPU0}}} 3",
    "pcie_replays": rf"gpumon_gpu_pcie_replays_total{{{GPU0}}} [1-9]",
    "memory_hot": rf"gpumon_gpu_memory_temperature_celsius{{{GPU0}}} 97",
    "energy_stuck": rf'gpumon_gpu_energy_suspect{{{GPU0},reason="stuck"}} 1',
    "energy_diverging": rf'gpumon_gpu_energy_suspect{{{GPU0},reason="diverging"}} 1',
    "smoothing_life": rf"gpumon_gpu_power_smoothing_lifetime_ratio{{{GPU0}}} 0.05",
    "vbios": rf'gpumon_gpu_info{{{GPU0},.*vbios_version="96.00.A5.00.01",.*}} 1',
    "hw_slowdown": rf'gpumon_gpu_throttled{{{GPU0},reason="hw_slowdown"}} 1',
    "persistence_off": rf'gpumon_gpu_info{{{GPU0},.*persistence="off"}} 1',
    "ecc_off": rf'gpumon_gpu_info{{{GPU0},.*ecc="off",.*}} 1',
    "current_limited": rf'gpumon_gpu_throttle_seconds_total{{{GPU0},reason="sw_power_cap"}} [1-9]',
    "hot": rf'gpumon_gpu_throttled{{{GPU0},reason="sw_thermal"}} 1',
    "power_cap": rf"gpumon_gpu_power_limit_watts{{{GPU0}}} 400",
    "power_brake": rf'gpumon_gpu_throttled{{{GPU0},reason="hw_power_brake"}} 1',
    "straggler": rf'gpumon_gpu_clock_hertz{{{GPU0},clock="sm"}} 795000000',
    "idle": rf"gpumon_gpu_sm_active_ratio{{{GPU0}}} 0.0",
    "stalled": rf"gpumon_gpu_tensor_active_ratio{{{GPU0}}} 0.0",
    "other_job": rf'gpumon_job_gpu_share{{job_id="9999",{GPU0}}} 1',
    "stray": rf"gpumon_gpu_processes{{{GPU0}}} 1",
    "overdraw": rf"gpumon_gpu_power_watts{{{GPU0}}} (69|70|71)",
    "swing": rf"gpumon_gpu_utilization_ratio{{{GPU0}}} 0",
    "missing": r"gpumon_gpus 3",
    "driver_dead": r"gpumon_source_up 0",
    "driver": r'gpumon_source_info{.*driver_version="570.86.15".*} 1',
    "released": r"gpumon_released 1",
    "agent_stale": rf"gpumon_gpu_sample_age_seconds{{{GPU0}}} [1-9]\d",
    "collector": r'gpumon_collector_success{collector="ipmi"} 0',
    "clock": r"gpumon_clock_offset_seconds 120",
    "workload_silent": r'gpumon_collector_success{collector="slurm"} 0',
    "reader_restarts": r"gpumon_reader_restarts_total [1-9]",
    "unattributed_xid": r"gpumon_unattributed_xids 1",
    "sxid": r'gpumon_nvswitch_sxid_errors_total{.*sxid="20034",severity="fatal"} 1',
}
ELSEWHERE = {
    "agent_dead",
    "node_dead",
    "agent_slow",
    "scheduler",
    "unlisted",
    "fact_stale",
    "site_collector",
    "site_dead",
}
"""Faults that do not show in a node's exposition: ``test_service.py`` has them."""


def test_every_kind_is_tested() -> None:
    """A new fault comes with the line that shows it."""
    assert SHOWS.keys() | ELSEWHERE == KINDS.keys()


@pytest.mark.parametrize("kind", SHOWS)
def test_it_shows_and_ends(fleet: SteppedFleet, kind: str) -> None:
    """The fault's line is there while it lasts, on its node alone; gauges are well again after."""
    line = re.compile(f"^{SHOWS[kind]}", re.MULTILINE)
    fleet.after(10)
    # A process runs on a healthy GPU too, and its utilisation is 0 now and then.
    assert kind in ("stray", "swing") or not line.search(fleet.text("n0001"))
    where = "n0001:0" if KINDS[kind].scope is FaultScope.GPU else "n0001"
    (fault,) = fleet.fleet.add_faults([f"{kind}@{where}"])
    fleet.after(200 if kind == "energy_diverging" else 65)
    seen = any(line.search(fleet.text("n0001")) or fleet.after(1) for _ in range(45))
    assert seen, fleet.text("n0001")
    if kind not in ("stray", "swing"):
        assert not line.search(fleet.text("n0005"))
    fleet.fleet.end_faults([fault.number])
    counted = ("xid", "unattributed_xid", "sxid", "reader_restarts", "current_limited")
    if kind in (*counted, "ecc_uncorrected", "ecc_corrected", "nvlink_errors", "pcie_replays"):
        return
    # Heat goes, and a counter's own check forgets, within minutes; the rest at once.
    for _ in range(80):
        fleet.after(5)
        if not line.search(fleet.text("n0001")) or kind in ("stray", "swing", "overdraw"):
            return
    pytest.fail("it is still there")


@pytest.mark.parametrize("kind", ["ecc_corrected", "nvlink_errors", "pcie_replays"])
def test_what_was_counted_stays(fleet: SteppedFleet, kind: str) -> None:
    """A counter does not go back when its fault is over, and stands still."""
    name = {
        "ecc_corrected": "gpumon_gpu_ecc_errors_total",
        "nvlink_errors": "gpumon_gpu_nvlink_errors_total",
        "pcie_replays": "gpumon_gpu_pcie_replays_total",
    }[kind]
    fleet.fleet.add_faults([f"{kind}=2@n0001:0,for=30s"])
    fleet.after(30)
    at_its_end = sum(fleet.values("n0001", name))
    fleet.after(60)
    assert sum(fleet.values("n0001", name)) == at_its_end == 60


def test_energy_counters_never_fall(fleet: SteppedFleet) -> None:
    """Programs change, the counter is held and let go: joules and bytes only grow."""
    names = ("gpumon_gpu_energy_joules_total", "gpumon_gpu_nvlink_transmit_bytes_total")
    before = {name: fleet.values("n0001", name) for name in names}
    for fault in ("stalled", "energy_stuck", "overdraw", "idle", "energy_diverging"):
        fleet.fleet.add_faults([f"{fault}@n0001:0,for=20s"])
        fleet.after(25)
        for name in names:
            now = fleet.values("n0001", name)
            assert all(b >= a for a, b in zip(before[name], now, strict=True)), (fault, name)
            before[name] = now


def test_a_fault_is_a_value() -> None:
    """Two parses of one text are equal."""
    one, other = (parse_fault("hot@n0001", PLAN, number=1, now=0) for _ in range(2))
    assert one == other
    assert dataclasses.replace(one, end=3.0) != other


def test_faults_are_all_or_none(make_fleet: Callable[..., SteppedFleet]) -> None:
    """One that is wrong among several: none begins."""
    fleet = make_fleet().fleet
    with pytest.raises(UsageError):
        fleet.add_faults(["hot@n0001", "hto@n0001"])
    assert fleet.faults == []
