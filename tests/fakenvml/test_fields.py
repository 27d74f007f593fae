"""nvmlDeviceGetFieldValues: scopes, value types, return code per value, moving values."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .probe import Probe

if TYPE_CHECKING:
    from . import FakeDriver

U32, U64, I32 = 1, 3, 5


def test_value_types_are_the_drivers(driver: FakeDriver, probe: Probe) -> None:
    """Power is unsigned int, energy unsigned long long, a T.Limit offset signed int."""
    with driver.batch():
        driver.set(0, "field.185", 330123)
        driver.set(0, "field.83", 2**40 + 1)
        driver.set(0, "field.194", -2)
    expected = [[0, U32, 330123], [0, U64, 2**40 + 1], [0, I32, -2]]
    assert probe.ask("fields(gpu(0), 185, 83, 194)") == expected


def test_a_type_can_be_stated(driver: FakeDriver, probe: Probe) -> None:
    """A reader that ignores valueType is caught: any field can come as any type."""
    for number, (prefix, value) in enumerate(
        [("double", 1.5), ("u32", 7), ("ulong", 8), ("u64", 9), ("i64", -10), ("i32", -11)]
    ):
        driver.set(0, "field.191", f"{prefix}:{value}")
        assert probe.ask("fields(gpu(0), 191)") == [[0, number, value]]


def test_the_scope_is_part_of_the_field(driver: FakeDriver, probe: Probe) -> None:
    """Memory power is field 185 of scope 2; an NVLink sum has scope UINT_MAX."""
    with driver.batch():
        driver.set(0, "field.185", 330000)
        driver.set(0, "field.185.2", 70000)
        driver.set(0, "field.138.4294967295", 123)
        driver.set(0, "field.138.17", 5)
    rows = probe.ask(
        "fields(gpu(0), 185, (185, 2), (185, 1), (138, 0xFFFFFFFF), (138, 17), (138, 18))"
    )
    assert rows == [
        [0, U32, 330000],
        [0, U32, 70000],
        [3, 0, None],
        [0, U64, 123],
        [0, U64, 5],
        [3, 0, None],
    ]


def test_energy_is_one_counter_with_two_ids(driver: FakeDriver, probe: Probe) -> None:
    """Field 191 and the function answer what field 83 says unless told otherwise."""
    driver.set(0, "field.83", 1000)
    assert probe.ask("fields(gpu(0), 83, 191)") == [[0, U64, 1000], [0, U64, 1000]]
    assert probe.ask("nvmlDeviceGetTotalEnergyConsumption(gpu(0))") == 1000
    driver.set(0, "field.191", 1001)
    assert probe.ask("fields(gpu(0), 83, 191)") == [[0, U64, 1000], [0, U64, 1001]]


def test_time_stamp_and_cost(driver: FakeDriver, probe: Probe) -> None:
    """The stamp is the wall clock in us, the cost what the control file says."""
    driver.set("*", "field_latency_us", 17)
    before = time.time_ns() // 1000
    call = "[[v.timestamp, v.latencyUsec] for v in nvmlDeviceGetFieldValues(gpu(0), [185])]"
    [[stamp, latency]] = probe.ask(call)
    assert before <= stamp <= time.time_ns() // 1000
    assert latency == 17


def test_a_counter_can_grow_by_itself(driver: FakeDriver, probe: Probe) -> None:
    """``rate:R@B`` is B + R per second since the driver was set up; processes agree on it."""
    driver.set(0, "field.83", "rate:1000000000@5000")
    [[_, _, first]] = probe.ask("fields(gpu(0), 83)")
    [[_, _, second]] = probe.ask("fields(gpu(0), 83)")
    assert 5000 < first < second
    with Probe(driver.env()) as another:
        another.ask("nvmlInit()")
        [[_, _, third]] = another.ask("fields(gpu(0), 83)")
    assert third > second


def test_a_changing_draw_moves_power_and_energy(driver: FakeDriver, probe: Probe) -> None:
    """Power is what was set, and the energy counter never falls, up or down."""
    last = 0
    for watts in (700, 60, 650, 70, 700, 65):
        driver.draw(1, watts * 1000)
        [[_, _, power], [_, _, energy]] = probe.ask("fields(gpu(1), 185, 83)")
        assert power == watts * 1000
        assert energy >= last
        last = energy
    assert probe.ask("nvmlDeviceGetPowerUsage(gpu(1))") == 65000
    assert probe.ask("samples(gpu(1), 0, 0)[-1][1]") == 65000
    assert probe.ask("nvmlDeviceGetPowerUsage(gpu(0))") == 68570


def test_a_slip_in_the_control_file_is_no_zero(driver: FakeDriver, probe: Probe) -> None:
    """A text where a number belongs answers UNKNOWN (999)."""
    driver.set(0, "field.185", "many")
    assert probe.ask("fields(gpu(0), 185)") == [[999, 0, None]]
    driver.set(0, "power_usage", "1O")
    assert probe.error("nvmlDeviceGetPowerUsage(gpu(0))") == 999


def test_a_value_can_cycle(driver: FakeDriver, probe: Probe) -> None:
    """``cycle:MS:A,B`` steps through its values by the clock."""
    driver.set(0, "field.185", "cycle:1:300000,310000")
    seen = probe.ask("sorted({fields(gpu(0), 185)[0][2] for _ in range(20000)})")
    assert seen == [300000, 310000]


def test_every_value_can_carry_an_error(driver: FakeDriver, probe: Probe) -> None:
    """The batch succeeds but each value in it says GPU_IS_LOST: a driver may report so."""
    driver.fail_values(0, 15)
    assert probe.ask("fields(gpu(0), 185, 83)") == [[15, 0, None], [15, 0, None]]
    assert probe.ask("fields(gpu(1), 185)") == [[0, U32, 68570]]
