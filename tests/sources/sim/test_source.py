"""What a simulated node answers, as a reader of it sees it."""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpumon.model import GpuReading, GpuState, group_of
from gpumon.sources import open_source
from gpumon.sources.sim.models import MODELS
from gpumon.sources.sim.source import SimSource
from gpumon.sources.spec import SourceSpec

Opener = Callable[[str], SimSource]

ALL = list(MODELS)


def test_source_info(open_sim: Opener) -> None:
    """A snapshot says that it is simulated, of what, and of which driver."""
    snapshot = open_sim("2xH100,seed=7").read()
    assert snapshot.source.simulated
    assert snapshot.source.detail == "2xH100,seed=7"
    assert snapshot.source.driver_version.startswith("580.")
    assert snapshot.up
    assert snapshot.errors == ()
    assert len(snapshot.gpus) == 2


def test_opened_by_name(clock: Any) -> None:
    """The seam opens it for ``sim:…``."""
    assert open_source("sim:H100", clock).read().source.source == "sim"


@pytest.mark.parametrize("key", ALL)
def test_identities(open_sim: Opener, key: str) -> None:
    """Identities have the real forms, differ between GPUs and seeds, and stay with their slot."""
    gpus = [reading.identity for reading in open_sim(f"8x{key}").read().gpus]
    assert gpus == [reading.identity for reading in open_sim(f"8x{key}").read().gpus]
    others = [reading.identity for reading in open_sim(f"8x{key},seed=1").read().gpus]
    assert [gpu.index for gpu in gpus] == list(range(8))
    assert len({gpu.uuid for gpu in gpus + others}) == 16
    assert len({gpu.serial for gpu in gpus + others}) == 16
    assert len({gpu.pci_bus_id for gpu in gpus}) == 8
    for gpu in gpus:
        assert re.fullmatch(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", gpu.uuid)
        assert re.fullmatch(r"[0-9A-F]{8}:[0-9A-F]{2}:00\.0", gpu.pci_bus_id)
        assert re.fullmatch(r"\d{13}", gpu.serial)
        assert gpu.name == MODELS[key].name
        assert gpu.minor_number == gpu.index
    modules = [gpu.module_id for gpu in gpus[:4]]
    assert sorted(modules) != modules


NOT_KNOWN = {
    # Filled in when a snapshot is derived or served, for every source.
    "power_peak_watts",
    "power_trough_watts",
    "energy_suspect",
    "energy_divergence_ratio",
    "contradicted",
    "xid_errors",
    "xid_last_timestamp_seconds",
    "xid_unresolved",
    "xid_events",
    # Passively cooled or liquid: no fan to tell of.
    "fan_speed_ratio",
    # Newest drivers only, and with privileges only.
    "sm_cycles",
    "sram_threshold_exceeded",
    "power_smoothing_lifetime_ratio",
    "power_profiles",
    "sram_lifetime_errors",
    # Nobody simulates them; and no page is retired from Ampere on.
    "firmware",
    "nvlink_link_remote",
    "retired_pages",
    "retired_pages_pending",
}
NOT_KNOWN_OUTSIDE_A_RACK = {"platform"}
NOT_KNOWN_ON_BARE_METAL = {"virtualization"}
NOT_KNOWN_BEFORE_HOPPER = {
    # No performance monitoring through the driver.
    "sm_active_ratio",
    "sm_occupancy_ratio",
    "tensor_active_ratio",
    "dram_active_ratio",
    "fp16_active_ratio",
    "fp32_active_ratio",
    "fp64_active_ratio",
    "pcie_transmit_bytes_per_second",
    "pcie_receive_bytes_per_second",
    "nvlink_transmit_bytes_per_second",
    "nvlink_receive_bytes_per_second",
    # The fabric's state came with Hopper, too.
    "fabric_state",
    "fabric_status",
    "fabric_partition_assigned",
    "fabric_info",
    "fabric_unhealthy",
    # Fields 197 and 198 came with Hopper.
    "pcie_transmit_bytes",
    "pcie_receive_bytes",
    # No sensor of the memory's own.
    "memory_power_watts",
}


@pytest.mark.parametrize("key", ALL)
def test_all_of_the_catalogue_is_answered(open_sim: Opener, key: str) -> None:
    """Every metric that the real driver answers for a model is there, and no other."""
    reading = open_sim(key).read().gpus[0]
    unknown = {
        metric.field
        for metric in group_of(GpuReading).metrics
        if getattr(reading, metric.field) is None
    }
    margins = {"temperature_margin_threshold_celsius"}
    absolute = {"temperature_threshold_celsius", "temperature_shutdown_celsius"}
    older = (
        NOT_KNOWN_ON_BARE_METAL | NOT_KNOWN_BEFORE_HOPPER | margins if key == "A100" else absolute
    )
    absent = NOT_KNOWN | NOT_KNOWN_ON_BARE_METAL | older
    assert unknown == absent | (set() if key == "GB200" else NOT_KNOWN_OUTSIDE_A_RACK)


@pytest.mark.parametrize("key", ALL)
def test_labels_are_those_of_the_catalogue(open_sim: Opener, key: str) -> None:
    """What is keyed is keyed by the catalogue's words."""
    reading = open_sim(key).read().gpus[0]
    for metric in group_of(GpuReading).metrics:
        value = getattr(reading, metric.field)
        if isinstance(value, dict):
            keys = {label if isinstance(label, tuple) else (label,) for label in value}
            assert all(len(key) == len(metric.labels) for key in keys), metric.field
            if metric.keys and "link" not in metric.labels:
                assert keys <= set(metric.keys), metric.field
        elif metric.states and isinstance(value, frozenset):
            assert value <= set(metric.states)


def test_nvlink_errors_by_generation(open_sim: Opener) -> None:
    """NVLink 4 and 5 count different errors, all of them 0 on a sound board."""
    hopper = open_sim("H100").read().gpus[0].nvlink_errors
    blackwell = open_sim("B200").read().gpus[0].nvlink_errors
    assert hopper == {"replay": 0, "recovery": 0, "crc": 0}
    assert blackwell is not None
    assert "crc" not in blackwell
    assert {"recovery_failed", "malformed_packet"} <= set(blackwell)
    assert not any(blackwell.values())


@pytest.mark.parametrize("key", ALL)
def test_opens_warm(open_sim: Opener, clock: Any, key: str) -> None:
    """The first reading is a running node's, and minutes later it is no warmer."""
    source = open_sim(f"2x{key}")
    first = source.read().gpus
    clock.seconds = 300.0
    later = source.read().gpus
    for before, after in zip(first, later, strict=True):
        assert before.energy_joules == 0.0
        assert before.power_watts > 0.3 * before.power_limit_watts
        assert before.utilization_ratio == pytest.approx(1.0)
        assert len(before.power_samples) == 10
        # The swing of an iteration, and no more.
        assert after.temperature_celsius == pytest.approx(before.temperature_celsius, abs=5)


def test_energy_is_the_integral_of_power(open_sim: Opener, clock: Any) -> None:
    """Joules by the counter are the sum of the one-second means, to the rounding."""
    source = open_sim("2xH100")
    source.read()
    sums = [0.0, 0.0]
    for second in range(1, 31):
        clock.seconds = float(second)
        gpus = source.read().gpus
        for index, gpu in enumerate(gpus):
            sums[index] += gpu.power_watts
    for index, gpu in enumerate(gpus):
        assert gpu.energy_joules == pytest.approx(sums[index], abs=0.05)
        assert gpu.energy_joules == round(gpu.energy_joules, 3)


def test_energy_is_published_each_tenth_of_a_second(open_sim: Opener, clock: Any) -> None:
    """Between two publications the counter stands still, as the real one does."""
    source = open_sim("H100")
    seen = []
    for tick in range(41):
        clock.seconds = tick * 0.05
        seen.append(source.read().gpus[0].energy_joules)
    assert seen[0:-1:2] == seen[1::2]
    assert len(set(seen)) == 21


def test_power_is_the_mean_of_its_samples(open_sim: Opener, clock: Any) -> None:
    """Hopper's power follows the mean of the last second, not the last sample."""
    source = open_sim("H100")
    source.read()
    differences = []
    for second in range(1, 21):
        clock.seconds = float(second)
        gpu = source.read().gpus[0]
        watts = [sample.watts for sample in gpu.power_samples]
        assert len(watts) == 10
        assert gpu.power_watts == pytest.approx(statistics.mean(watts), rel=0.05)
        differences.append(abs(gpu.power_watts - watts[-1]))
    assert max(differences) > 100


def test_a100_power_is_a_sample(open_sim: Opener, clock: Any) -> None:
    """GA100 has no mean: its power is the sample of the last 100 ms."""
    source = open_sim("A100")
    for tenth in range(1, 30):
        clock.seconds = tenth / 10
        gpu = source.read().gpus[0]
        assert gpu.power_watts == gpu.power_samples[-1].watts


def test_samples_follow_on(open_sim: Opener, clock: Any) -> None:
    """Samples stand 100 ms apart in source time, none missing and none twice."""
    source = open_sim("H100,start=2026-01-01T00:00:00Z")
    source.read()
    times = []
    for seconds in (0.35, 1.0, 1.05, 3.3):
        clock.seconds = seconds
        times += [sample.time for sample in source.read().gpus[0].power_samples]
    start = 1_767_225_600.0
    assert times == pytest.approx([start + tenth / 10 for tenth in range(1, 34)], abs=1e-6)


def test_time_of_readings(open_sim: Opener, clock: Any) -> None:
    """Source time runs at the speed; the moment of reading is the machine's."""
    source = open_sim("H100,speed=60,start=2026-01-01T00:00:00Z")
    clock.seconds = 2.0
    snapshot = source.read()
    assert snapshot.time == snapshot.gpus[0].time == 1_767_225_600.0 + 120
    assert snapshot.gpus[0].read_at == clock.monotonic()
    mean = snapshot.gpus[0].energy_joules / 120
    assert 500 < mean < 700


def test_start_is_the_clocks_time(open_sim: Opener, clock: Any) -> None:
    """Without a start, source time begins at the time of opening."""
    assert open_sim("H100").read().time == clock.time()


def test_speed_changes_the_time_and_nothing_else(open_sim: Opener, clock: Any) -> None:
    """A minute at 1x and a second at 60x are the same minute."""
    slow, fast = open_sim("2xH100,seed=3"), open_sim("2xH100,seed=3,speed=60")
    clock.seconds = 1.0
    quick = fast.read().gpus
    clock.seconds = 60.0
    for one, other in zip(slow.read().gpus, quick, strict=True):
        assert dataclasses.replace(one, read_at=0.0) == dataclasses.replace(other, read_at=0.0)


@pytest.mark.parametrize("workload", ["training", "inference", "mixed"])
def test_reproducible(open_sim: Opener, clock: Any, workload: str) -> None:
    """The same seed and times give the same readings to the last bit; another seed others."""
    text = f"4xB200,workload={workload},seed="
    one, same, other = open_sim(f"{text}5"), open_sim(f"{text}5"), open_sim(f"{text}6")
    for seconds in (0.0, 1.0, 2.5, 17.0):
        clock.seconds = seconds
        reading = one.read()
        assert reading == same.read()
    assert [gpu.energy_joules for gpu in reading.gpus] != [
        gpu.energy_joules for gpu in other.read().gpus
    ]


STATE = (
    "power_watts",
    "energy_joules",
    "temperature_celsius",
    "memory_temperature_celsius",
    "clock_hertz",
    "throttle_seconds",
    "throttle_reasons",
    "utilization_ratio",
    "nvlink_transmit_bytes",
    "pcie_transmit_bytes",
)


@pytest.mark.parametrize("speed", [1, 3600])
def test_independent_of_cadence(open_sim: Opener, clock: Any, speed: int) -> None:
    """How often it is read changes nothing of what happens."""
    text = f"8xH100,workload=mixed,speed={speed}"
    often, once = open_sim(text), open_sim(text)
    for step in range(1, 20):
        clock.seconds = step * 0.0731 + (step % 7) * 0.001
        often.read()
    clock.seconds = 1.5
    for one, other in zip(often.read().gpus, once.read().gpus, strict=True):
        for field in STATE:
            assert getattr(one, field) == getattr(other, field), field


def test_means_are_since_the_last_reading(open_sim: Opener, clock: Any) -> None:
    """Activities are means over the time between readings, so they join without a gap."""
    text = "H100,seed=2"
    often, once = open_sim(text), open_sim(text)
    often.read()
    once.read()
    means = []
    for second in range(1, 11):
        clock.seconds = float(second)
        means.append(often.read().gpus[0].tensor_active_ratio)
    assert statistics.mean(means) == pytest.approx(once.read().gpus[0].tensor_active_ratio)
    assert once.read().gpus[0].tensor_active_ratio is not None


def test_training_dips_in_phase(open_sim: Opener, clock: Any) -> None:
    """All GPUs of a job exchange gradients at once: their samples fall and rise together."""
    source = open_sim("8xH100,seed=1")
    source.read()
    clock.seconds = 30.0
    traces = [[sample.watts for sample in gpu.power_samples] for gpu in source.read().gpus]
    low = [[watts < 500 for watts in trace] for trace in traces]
    assert any(low[0])
    assert all(trace == low[0] for trace in low)


def test_stuck_signature(open_sim: Opener, clock: Any) -> None:
    """A hung collective: fully utilised, no tensor activity, hardly more power than idle."""
    source = open_sim("4xH100,workload=stuck")
    clock.seconds = 10.0
    for gpu in source.read().gpus:
        assert gpu.utilization_ratio == 1.0
        assert gpu.tensor_active_ratio == 0.0
        assert gpu.nvlink_transmit_bytes == 0
        assert gpu.memory_used_bytes > 0.8 * gpu.memory_total_bytes
        assert 110 <= gpu.power_watts <= 150


def test_idle(open_sim: Opener, clock: Any) -> None:
    """An idle GPU does nothing, holds nothing, and has its clock down without a reason."""
    source = open_sim("8xB200,workload=idle")
    clock.seconds = 10.0
    gpus = source.read().gpus
    for gpu in gpus:
        assert gpu.utilization_ratio == gpu.sm_active_ratio == 0.0
        assert gpu.memory_used_bytes == 0
        assert gpu.clock_hertz["sm"] == 120e6
        assert gpu.throttle_reasons == frozenset()
        assert 180 <= gpu.power_watts <= 210
    assert len({gpu.power_watts for gpu in gpus}) == 8
    even, odd = (statistics.mean(g.temperature_celsius for g in gpus[k::2]) for k in (0, 1))
    assert odd - even == pytest.approx(3.5, abs=1)


def test_power_limit(open_sim: Opener, clock: Any) -> None:
    """A lower limit is in force, shown beside the default, held, and told as the reason."""
    source = open_sim("2xH100,power_limit=350")
    before = source.read().gpus
    clock.seconds = 60.0
    for first, gpu in zip(before, source.read().gpus, strict=True):
        assert gpu.power_limit_watts == 350.0
        assert gpu.power_limit_default_watts == 700.0
        assert gpu.energy_joules / 60 <= 350 * 1.02
        seconds = gpu.throttle_seconds["sw_power_cap"] - first.throttle_seconds["sw_power_cap"]
        assert 30 < seconds <= 60
        assert gpu.clock_max_hertz["sm"] == 1980e6


def test_lost_gpu(open_sim: Opener, clock: Any) -> None:
    """A GPU that has switched itself off is lost, with its identity and a reason, nothing else."""
    source = open_sim("2xH100")
    lost = source._node.gpus[1]
    lost.die.inlet = 93.0
    clock.seconds = 120.0
    well, gone = source.read().gpus
    assert well.state is GpuState.OK
    assert gone.state is GpuState.LOST
    assert "Xid 79" in gone.reason
    assert gone.identity.index == 1
    assert gone == GpuReading(
        identity=gone.identity,
        state=GpuState.LOST,
        time=gone.time,
        read_at=gone.read_at,
        reason=gone.reason,
    )


def test_long_pause(open_sim: Opener, clock: Any) -> None:
    """After an hour unread the time is right, the energy plausible, the last samples close."""
    source = open_sim("8xH100")
    source.read()
    start = clock.time()
    clock.seconds = 3600.0
    snapshot = source.read()
    assert snapshot.time == start + 3600
    gpu = snapshot.gpus[0]
    assert 450 < gpu.energy_joules / 3600 < 700
    recent = [sample.time for sample in gpu.power_samples if sample.time > snapshot.time - 20]
    assert len(recent) >= 199


def test_very_long_pause_is_caught_up(open_sim: Opener, clock: Any) -> None:
    """A pause too long for one reading is caught up in several, each bounded."""
    source = open_sim("8xH100")
    start = clock.time()
    clock.seconds = 30_000.0
    times = [source.read().time - start for _ in range(5)]
    assert times == [7500.0, 15_000.0, 22_500.0, 30_000.0, 30_000.0]


def test_a_clock_that_goes_back_is_not_followed(open_sim: Opener, clock: Any) -> None:
    """Readings never go back in time."""
    source = open_sim("H100")
    clock.seconds = 5.0
    first = source.read()
    clock.seconds = 1.0
    again = source.read()
    assert again.time == first.time
    assert again.gpus[0].energy_joules == first.gpus[0].energy_joules


def test_close(open_sim: Opener) -> None:
    """Closing it holds nothing up."""
    open_sim("H100").close()


COUNTERS = ("energy_joules", "pcie_transmit_bytes", "pcie_receive_bytes", "nvlink_transmit_bytes")


@settings(max_examples=15, deadline=None)
@given(
    key=st.sampled_from(ALL),
    workload=st.sampled_from(["training", "inference", "idle", "stuck", "mixed"]),
    seed=st.integers(0, 1000),
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=6),
)
def test_counters_never_fall(key: str, workload: str, seed: int, gaps: list[float]) -> None:
    """Whenever they are read, counters stand or rise."""

    class Clock:
        seconds = 0.0

        def time(self) -> float:
            return self.seconds

        monotonic = time

    clock = Clock()
    source = SimSource(SourceSpec.parse(f"sim:2x{key},workload={workload},seed={seed}"), clock)
    before = source.read().gpus
    for gap in gaps:
        clock.seconds += gap
        after = source.read().gpus
        for one, other in zip(before, after, strict=True):
            for field in COUNTERS:
                assert (getattr(other, field) or 0) >= (getattr(one, field) or 0)
            for reason, seconds in other.throttle_seconds.items():
                assert seconds >= one.throttle_seconds[reason]
            assert 0 <= other.utilization_ratio <= 1
        before = after
