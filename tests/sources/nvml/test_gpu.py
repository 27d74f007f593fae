"""One GPU over time: cadences, what was not ready, and joules without a counter.

The driver is a table of answers here, so that a minute passes at once; the real binding is tested
in tests/e2e.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gpumon.model import EnergyInfo
from gpumon.sources.nvml.gpu import Gpu
from gpumon.sources.nvml.library import Code, Door, FaultError, FieldAnswer
from gpumon.sources.nvml.origin import ALL_LINKS, SCOPE_MODULE
from tests.support.clock import FakeClock

NOT_READY = 27


class TableDoor(Door):
    """Answers from tables: fields by (id, scope), functions by name, codes of those that fail."""

    def __init__(self, clock: FakeClock) -> None:
        """Know one GPU that draws 300 W and says nothing else."""
        super().__init__(clock)
        self.values: dict[tuple[int, int], int] = {(185, 0): 300_000}
        self.functions: dict[str, Any] = {
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetUUID": "GPU-1",
        }
        self.codes: dict[str, int] = {}
        self.asked: list[str] = []

    def call(self, function: str, *args: Any) -> Any:
        """Answer a function from the table."""
        self.asked.append(function)
        if function in self.functions and function not in self.codes:
            return self.functions[function]
        raise FaultError(self.codes.get(function, Code.NOT_SUPPORTED), function, "no")

    def get(self, function: str, handle: Any, *args: Any) -> Any:
        """Answer a getter from the table."""
        return self.call(function)

    def fields(self, handle: Any, asked: Sequence[tuple[int, int]]) -> list[FieldAnswer]:
        """Answer a batch from the table."""
        self.asked.append(f"fields {sorted(id_ for id_, _ in asked)}")
        return [
            FieldAnswer(0, self.values[key]) if key in self.values else FieldAnswer(3, None)
            for key in asked
        ]

    def power_samples(self, handle: Any, since: int) -> list[tuple[int, int]]:
        """Have no buffer."""
        raise FaultError(Code.NOT_SUPPORTED, "nvmlDeviceGetSamples", "no")


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def door(clock: FakeClock) -> TableDoor:
    """A driver of answers."""
    return TableDoor(clock)


def test_what_was_not_ready_is_asked_again_within_a_minute(
    door: TableDoor, clock: FakeClock
) -> None:
    """As when the agent starts before the fabric is up; what is unsupported is not."""
    door.functions["nvmlDeviceGetPcieReplayCounter"] = 7
    door.codes["nvmlDeviceGetPcieReplayCounter"] = NOT_READY
    gpu = Gpu(door, 0, clock)
    assert gpu.read().pcie_replays is None
    del door.codes["nvmlDeviceGetPcieReplayCounter"]
    clock.pass_(30)
    assert gpu.read().pcie_replays is None
    clock.pass_(31)
    assert gpu.read().pcie_replays == 7
    door.asked.clear()
    clock.pass_(61)
    gpu.read()
    assert door.asked.count("nvmlDeviceGetFanSpeed") == 0


def test_slow_values_are_asked_every_ten_seconds_and_told_in_between(
    door: TableDoor, clock: FakeClock
) -> None:
    """One batch a tick, in which the slow fields are when it is their time."""
    door.values[142, 0] = 5
    gpu = Gpu(door, 0, clock)
    gpu.read()
    told, batches = [], []
    for tick in range(1, 21):
        door.values[142, 0] = 5 + tick
        door.asked.clear()
        clock.pass_(1)
        told.append((gpu.read().remapped_rows or {})["corrected"])
        batches.append([asked for asked in door.asked if asked.startswith("fields")])
    assert told == [5] * 9 + [15] * 10 + [25]
    assert all(len(batch) == 1 for batch in batches)
    assert [n for n, (batch,) in enumerate(batches, 1) if "142" in batch] == [10, 20]


def test_a_value_that_is_refused_disappears_and_comes_back(
    door: TableDoor, clock: FakeClock
) -> None:
    """Its last value is not repeated."""
    door.functions["nvmlDeviceGetTemperatureV"] = 40
    gpu = Gpu(door, 0, clock)
    assert gpu.read().temperature_celsius == 40
    door.codes["nvmlDeviceGetTemperatureV"] = 999
    clock.pass_(1)
    assert gpu.read().temperature_celsius is None
    del door.codes["nvmlDeviceGetTemperatureV"]
    clock.pass_(1)
    assert gpu.read().temperature_celsius == 40


def test_without_a_counter_power_is_integrated(door: TableDoor, clock: FakeClock) -> None:
    """By the monotonic clock: a step of the wall clock draws no power."""
    gpu = Gpu(door, 0, clock)
    assert gpu.read().energy_joules == 0
    clock.pass_(2)
    reading = gpu.read()
    assert reading.energy_joules == 600
    assert reading.energy_info == EnergyInfo("integral")
    clock._time += 3600
    clock.pass_(1)
    assert gpu.read().energy_joules == 900
    clock.pass_(61)  # nobody knows what happened in more than a minute
    assert gpu.read().energy_joules == 900


@pytest.mark.parametrize(
    ("fields", "power_scope", "energy"),
    [
        ({(185, 0): 1, (83, 0): 1}, "gpu", EnergyInfo("counter", "gpu")),
        ({(185, SCOPE_MODULE): 1, (83, 0): 1}, "module", EnergyInfo("counter", "gpu")),
        ({(185, SCOPE_MODULE): 1}, "module", EnergyInfo("integral", "module")),
        ({(185, 0): 1, (191, SCOPE_MODULE): 1}, "gpu", EnergyInfo("counter", "module")),
    ],
)
def test_a_module_that_answers_for_its_gpus_is_said_to(
    door: TableDoor,
    clock: FakeClock,
    fields: dict[tuple[int, int], int],
    power_scope: str,
    energy: EnergyInfo,
) -> None:
    """Power and energy each have their own scope."""
    door.values = fields
    reading = Gpu(door, 0, clock).read()
    assert (reading.power_scope, reading.energy_info) == (power_scope, energy)


def test_a_hbm_sensor_that_says_nought_is_none(door: TableDoor, clock: FakeClock) -> None:
    """Boards without it answer 0 W, which no memory draws."""
    door.values[185, 2] = 0
    assert Gpu(door, 0, clock).read().memory_power_watts is None


def test_a_number_that_is_none_is_absent(door: TableDoor, clock: FakeClock) -> None:
    """NaN never leaves the driver's door."""
    door.functions["nvmlDeviceGetMarginTemperature"] = float("nan")
    assert Gpu(door, 0, clock).read().temperature_margin_celsius is None


def test_a_gpu_that_is_lost_while_it_is_probed_is_lost(door: TableDoor, clock: FakeClock) -> None:
    """The code is raised, not taken for a value that is not there."""
    door.codes["nvmlDeviceGetPcieReplayCounter"] = Code.GPU_IS_LOST
    with pytest.raises(FaultError) as caught:
        Gpu(door, 0, clock)
    assert caught.value.code == Code.GPU_IS_LOST


def links(door: TableDoor, field: int, counts: Sequence[int | None], total: int | None) -> None:
    """Have the links count, and the driver's own sum be this; None does not answer."""
    door.values[91, 0] = len(counts)
    for scope, count in [*enumerate(counts), (ALL_LINKS, total)]:
        door.values.pop((field, scope), None)
        if count is not None:
            door.values[field, scope] = count


@pytest.mark.parametrize(
    ("field", "kind"),
    [(161, "replay"), (162, "recovery"), (163, "crc"), (206, "malformed_packet"), (221, "symbol")],
)
@pytest.mark.parametrize(
    ("counts", "total", "expected"),
    [
        pytest.param((469_000, 35, 0), 0, 469_035, id="the driver's sum is 0"),
        pytest.param((1, 2, 3), 99, 6, id="it is another"),
        pytest.param((1, 2, 3), None, 6, id="there is none"),
        pytest.param((0, 0, 0), 5, 5, id="only the driver counts"),
        pytest.param((None, None, None), 5, 5, id="no link answers"),
        pytest.param((None, None, None), 0, None, id="a 0 for links that do not answer"),
        pytest.param((4, None, 3), 0, 7, id="one link does not answer"),
        pytest.param((0, 0, 0), 0, 0, id="a sound board"),
    ],
)
def test_errors_of_nvlinks_are_the_sum_of_the_links(
    door: TableDoor,
    field: int,
    kind: str,
    counts: Sequence[int | None],
    total: int | None,
    expected: int | None,
) -> None:
    """The scope of all links is documented for the data counters alone."""
    links(door, field, counts, total)
    assert (Gpu(door, 0, FakeClock()).read().nvlink_errors or {}).get(kind) == expected


def test_a_link_that_does_not_answer_for_a_while_makes_no_errors(
    door: TableDoor, clock: FakeClock
) -> None:
    """A sum that falls and rises again would be as many errors to Prometheus."""
    links(door, 163, (100, 50, 0), 0)
    gpu = Gpu(door, 0, clock)
    told = [gpu.read().nvlink_errors]
    for counts in ((100, None, 0), (101, None, 0), (101, 50, 0)):
        links(door, 163, counts, 0)
        clock.pass_(10)
        told.append(gpu.read().nvlink_errors)
    assert [(errors or {})["crc"] for errors in told] == [150, 150, 151, 151]


def test_nor_does_it_if_the_gpu_is_probed_again_meanwhile(
    door: TableDoor, clock: FakeClock
) -> None:
    """As each minute while something is not ready: what the links had is the GPU's own."""
    door.codes["nvmlDeviceGetPcieReplayCounter"] = NOT_READY
    links(door, 163, (100, 900), 0)
    gpu = Gpu(door, 0, clock)
    told = [gpu.read().nvlink_errors]
    probes = door.asked.count("nvmlDeviceGetPcieReplayCounter")
    for counts in ((100, None), (100, 900)):
        links(door, 163, counts, 0)
        clock.pass_(61)
        told.append(gpu.read().nvlink_errors)
    assert door.asked.count("nvmlDeviceGetPcieReplayCounter") > probes
    assert [(errors or {})["crc"] for errors in told] == [1000, 1000, 1000]


def test_a_link_whose_state_is_refused_does_not_hide_that_others_are_down(
    door: TableDoor, clock: FakeClock
) -> None:
    """It is not up; the links that answer are counted."""
    links(door, 165, (1, None, 0), None)
    assert Gpu(door, 0, clock).read().nvlink_links_active == 1


@pytest.mark.parametrize(("mode", "watts"), [(0, 300.0), (1, 300.0), (2, None), (3, 300.0)])
def test_power_and_energy_of_a_vgpu_are_its_boards(
    door: TableDoor, clock: FakeClock, mode: int, watts: float | None
) -> None:
    """The host's agent reads them; a board that is passed through as a whole has its own."""
    door.functions["nvmlDeviceGetVirtualizationMode"] = mode
    door.functions["nvmlDeviceGetPcieReplayCounter"] = 7
    door.values[83, 0] = 5_000_000
    door.values[190, 0] = 700_000
    reading = Gpu(door, 0, clock).read()
    assert reading.power_watts == watts
    assert (reading.energy_joules, reading.power_limit_watts) == (
        (None, None) if watts is None else (5000.0, 700.0)
    )
    assert (reading.energy_info, reading.power_samples == ()) == (
        (None, True) if watts is None else (EnergyInfo("counter"), False)
    )
    assert reading.pcie_replays == 7
