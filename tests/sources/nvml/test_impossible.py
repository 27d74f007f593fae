"""What a driver says when it knows no value, before it is left out: it must do no harm there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from gpumon.model import EnergyInfo, Platform
from gpumon.refusals import Refusals
from gpumon.sources.gate import Gate
from gpumon.sources.nvml.decode import (
    active_links,
    architecture,
    fabric_health,
    fabric_info,
    fabric_state,
    fabric_status,
    link_is_up,
    mode_now,
    mode_pending,
    nvlink_version,
    performance_state,
    platform,
    power_profiles,
    recovery_action,
    virtualization,
)
from gpumon.sources.nvml.gpu import Gpu
from gpumon.sources.nvml.library import Code, Door, FaultError, ProcessEntry
from gpumon.sources.nvml.mig import MOST_INSTANCES, MigReader
from gpumon.sources.nvml.origin import flag
from gpumon.sources.nvml.processes import ProcessReader
from tests.sources.nvml.test_gpu import TableDoor
from tests.support.clock import FakeClock

ONES = 2**32 - 1
LONG_ONES = 2**64 - 1


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def door(clock: FakeClock) -> TableDoor:
    """A driver of answers."""
    return TableDoor(clock)


def test_impossible_power_is_not_integrated(door: TableDoor, clock: FakeClock) -> None:
    """4.29 MW for a second were 4.29 MJ for ever in the ledger of a GPU without a counter."""
    gpu = Gpu(door, 0, clock)
    joules = []
    for milliwatts in (300_000, 300_000, ONES, 300_000, 300_000):
        door.values[185, 0] = milliwatts
        reading = gpu.read()
        assert reading.energy_info == EnergyInfo("integral")
        joules.append(reading.energy_joules)
        clock.pass_(1)
    assert joules == [0, 300, 300, 900, 1200]


def test_nor_is_power_that_is_beyond_this_gpus_own_limit(door: TableDoor, clock: FakeClock) -> None:
    """5 kW are possible, but not for a board of 70 W."""
    door.values[190, 0] = 70_000
    door.values[185, 0] = 60_000
    gpu = Gpu(door, 0, clock)
    gpu.read()
    clock.pass_(1)
    door.values[185, 0] = 5_000_000
    assert gpu.read().energy_joules == 0


def test_a_number_of_links_that_cannot_be_is_not_counted_up_to(
    door: TableDoor, clock: FakeClock
) -> None:
    """Four billion fields were asked for."""
    door.values[91, 0] = ONES
    assert Gpu(door, 0, clock).read().power_watts == 300


class Divided(TableDoor):
    """A GPU that does not know how many instances it can have."""

    def get(self, function: str, handle: Any, *args: Any) -> Any:
        """Say so with all bits set, and have no instance."""
        if function == "nvmlDeviceGetMaxMigDeviceCount":
            return ONES
        self.asked.append(function)
        raise FaultError(Code.NOT_FOUND, function, "no")


def test_a_number_of_instances_that_cannot_be_is_not_counted_up_to(clock: FakeClock) -> None:
    """Each number is a call."""
    divided = Divided(clock)
    assert MigReader(divided, "handle", 0, "GPU-1").read(0.0, divided=True) == ()
    assert len(divided.asked) == MOST_INSTANCES


def test_a_margin_is_not_made_of_a_temperature_that_cannot_be(
    door: TableDoor, clock: FakeClock
) -> None:
    """90 degrees less -1 are 91 degrees of margin, and were shown."""
    door.functions["nvmlDeviceGetTemperatureThreshold"] = 90
    door.functions["nvmlDeviceGetTemperatureV"] = 40
    gpu = Gpu(door, 0, clock)
    assert gpu.read().temperature_margin_celsius == 50
    door.functions["nvmlDeviceGetTemperatureV"] = -1
    clock.pass_(1)
    assert gpu.read().temperature_margin_celsius != 91
    door.functions["nvmlDeviceGetTemperatureThreshold"] = ONES
    assert Gpu(door, 0, clock).read().temperature_margin_celsius is None


class Sampling(TableDoor):
    """A GPU with a buffer of power samples."""

    samples: tuple[tuple[int, int], ...] = ((1_700_000_000_000_000, 300_000),)

    def power_samples(self, handle: Any, since: int) -> list[tuple[int, int]]:
        """Return those that are later."""
        return [sample for sample in self.samples if sample[0] > since]


def test_a_sample_with_an_impossible_time_does_not_make_the_later_ones_old(
    clock: FakeClock,
) -> None:
    """With all bits set it is later than everything that comes."""
    door = Sampling(clock)
    gpu = Gpu(door, 0, clock)
    door.samples = (*door.samples, (1_700_000_000_100_000, 310_000), (LONG_ONES, 320_000))
    gpu.read()
    door.samples = ((1_700_000_000_200_000, 330_000),)
    assert [sample.watts for sample in gpu.read().power_samples] == [330.0]


class WithProcess(TableDoor):
    """A GPU that one process holds."""

    def processes(self, function: str, handle: Any) -> list[ProcessEntry]:
        """List it."""
        return [ProcessEntry(1, 5, None, None)] if "Compute" in function else []


def test_nor_does_one_of_a_process(clock: FakeClock) -> None:
    """Its share of the SMs is told on."""
    door = WithProcess(clock)
    reader = ProcessReader(door, "handle")
    samples = [SimpleNamespace(pid=1, smUtil=50, timeStamp=LONG_ONES)]
    door.functions["nvmlDeviceGetProcessUtilization"] = samples
    reader.read()
    assert reader._shares_since == 0
    samples[0].timeStamp = 1_700_000_000_000_000
    reader.read()
    assert reader._shares_since == 1_700_000_000_000_000


def test_no_room_is_made_for_processes_that_cannot_be(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be 128 GB; the GPU's other readings need none of it."""
    name = "nvmlDeviceGetComputeRunningProcesses_v3"
    monkeypatch.setattr(pynvml, "nvmlLib", SimpleNamespace(**{name: print}))
    door = Door(clock)

    def timed(_function: str, _target: Any, _handle: Any, count: Any, _buffer: Any) -> int:
        count._obj.value = ONES
        return int(Code.INSUFFICIENT_SIZE)

    monkeypatch.setattr(door, "timed", timed)
    with pytest.raises(FaultError, match="4294967295 processes, which is impossible"):
        door.processes(name, "handle")


@pytest.mark.parametrize("decode", [flag, link_is_up, recovery_action])
@pytest.mark.parametrize("number", [ONES, LONG_ONES, -1])
def test_a_code_that_is_none_does_not_become_a_word_or_a_truth(decode: Any, number: int) -> None:
    """All bits set were "replace the board", "link down" and the last action there is."""
    assert decode(number) == number
    assert active_links([1, number, 1]) == number


def fabric(**members: Any) -> SimpleNamespace:
    """Return NVML's struct about a fabric of which the driver knows nothing, but these members."""
    given = {
        "clusterUuid": b"\xff" * 16,
        "cliqueId": ONES,
        "state": 3,
        "status": ONES,
        "healthMask": ONES,
        "healthSummary": 255,
    }
    given.update(members)
    return SimpleNamespace(**given)


def test_a_fabric_that_the_driver_knows_nothing_of_is_neither_fit_nor_unfit() -> None:
    """All bits set were a misconfiguration, a manager that is gone, and a failure to join."""
    assert fabric_health(fabric()) is None
    assert fabric_info(fabric()) is None
    assert fabric_state(fabric(state=255)) is None
    assert fabric_status(fabric()) == ONES  # refused, and counted


@pytest.mark.parametrize(
    ("members", "held"),
    [
        ({"status": 0}, {"join_failed": False}),
        ({"status": 999}, {"join_failed": True}),
        ({"healthSummary": 2}, {"unhealthy": True}),
        ({"healthMask": 0b11_11_1111_11_11_11_01}, {"degraded_bandwidth": True}),
        ({"healthMask": 2 << 14}, {"manager_disconnected": True}),
        ({"healthMask": 1 << 14 | 0xF00}, {"manager_disconnected": False}),
        ({"healthMask": 4 << 8}, {"no_partition": True}),
    ],
)
def test_what_it_does_know_of_the_fabric_counts(
    members: dict[str, int], held: dict[str, bool]
) -> None:
    """Each number is judged by itself, and each part of the mask."""
    assert fabric_health(fabric(**members)) == held


@pytest.mark.parametrize("decode", [mode_now, mode_pending])
@pytest.mark.parametrize("number", [ONES, LONG_ONES, -1])
def test_a_mode_that_is_not_known_is_not_off(decode: Any, number: int) -> None:
    """That ECC is off is a fault, and without MIG instances go; it is refused instead."""
    assert decode([number, number]) == number
    assert [decode([on, on]) for on in (0, 1)] == [False, True]


def test_a_mig_mode_that_is_not_known_is_absent_and_divides_nothing(
    door: TableDoor, clock: FakeClock
) -> None:
    """No instance is looked for, which would be a call for each number."""
    door.functions["nvmlDeviceGetMigMode"] = [ONES, ONES]
    reading = Gate(Refusals()).gpu(Gpu(door, 0, clock).read(), clock.time())
    assert reading.mig_mode is None
    assert reading.mig == ()
    assert "nvmlDeviceGetMaxMigDeviceCount" not in door.asked


def test_what_is_not_known_has_no_word() -> None:
    """Architectures, virtualization, NVLinks, performance states, power profiles."""
    assert architecture(ONES) == architecture(None) == ""
    assert virtualization(ONES) == virtualization(None) == virtualization(5) == ""
    assert (virtualization(0), virtualization(2)) == ("none", "vgpu")
    assert (architecture(9), architecture(14)) == ("Hopper", "architecture 14")
    assert nvlink_version([ONES, 255]) is None
    assert nvlink_version([6, ONES, 7]) == 5.0
    assert performance_state(ONES) is performance_state(32) is None
    every, none = SimpleNamespace(mask=[ONES] * 8), SimpleNamespace(mask=[0] * 8)
    two = SimpleNamespace(mask=[0b11, *[0] * 7])
    profiles = SimpleNamespace(
        perfProfilesMask=every, requestedProfilesMask=every, enforcedProfilesMask=none
    )
    assert power_profiles(profiles) is None
    profiles.perfProfilesMask, profiles.enforcedProfilesMask = two, two
    assert power_profiles(profiles) == {
        ("max_p", "enforced"): True,
        ("max_q", "enforced"): True,
    }


def test_a_place_that_was_never_written_is_none() -> None:
    """Flash that was erased has all bits set; what is known of it is said."""
    assert platform(b"\xff" * 44) is None
    assert platform(b"\xff" * 37 + b"\x0c" + b"\xff" * 6) == Platform(tray=12)


def test_a_slow_value_is_refused_when_it_is_read_and_not_when_it_is_remembered(
    door: TableDoor, clock: FakeClock
) -> None:
    """A link width of 255 is one object however often it is read, and is read every ten seconds."""
    door.functions["nvmlDeviceGetCurrPcieLinkWidth"] = 255
    door.values[185, 0] = ONES
    gpu, refusals, widths, powers = Gpu(door, 0, clock), Refusals(), [], []
    gate = Gate(refusals)
    for _ in range(21):
        assert gate.gpu(gpu.read(), clock.time()).pcie_link_width is None
        counts = refusals.take()
        widths.append(counts.get("gpu_pcie_link_width", 0))
        powers.append(counts.get("gpu_power", 0))
        clock.pass_(1)
    assert [tick for tick, count in enumerate(widths) if count] == [0, 10, 20]
    assert max(widths) == 1
    assert sum(powers) >= 21
