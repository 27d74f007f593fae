"""What the host's collectors make of trees of /sys and of BMCs, good and bad."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gpumon.host.collector import DeniedError
from gpumon.host.hwmon import Hwmon, MeteredPower
from gpumon.host.ipmi import Ipmi, watts_of
from gpumon.host.rapl import CpuEnergy, Rapl
from tests.support.clock import FakeClock

RANGE = 262_143_328_850
"""Microjoules at which an Intel package's counter wraps."""


def zone(root: Path, path: str, name: str, microjoules: int, largest: int = RANGE) -> Path:
    """Make a zone of the powercap tree, or set its counter."""
    folder = root / "sys" / "class" / "powercap" / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder


def two_packages(root: Path) -> None:
    """Make the tree of an Intel server: two packages with cores and memory, and the platform."""
    zone(root, "intel-rapl:0", "package-0", RANGE - 1_000_000)
    zone(root, "intel-rapl:0:0", "core", 5)
    zone(root, "intel-rapl:0:1", "dram", 100)
    zone(root, "intel-rapl:1", "package-1", 7_000_000)
    zone(root, "intel-rapl:1:0", "dram", 100)
    zone(root, "intel-rapl:2", "psys", 900)
    zone(root, "intel-rapl-mmio:0", "package-0", 12)
    (root / "sys" / "class" / "powercap" / "intel-rapl").mkdir()


def test_cpu_energy_is_counted_from_the_start_through_a_wrap(tmp_path: Path) -> None:
    """To the microjoule; each package and its parts, and no zone told twice."""
    two_packages(tmp_path)
    clock = FakeClock()
    rapl = Rapl(tmp_path, clock)
    first = rapl.collect()
    assert first is not None
    assert first.watts is None
    assert set(first.joules.values()) == {0}
    zone(tmp_path, "intel-rapl:0", "package-0", 2_500_001)
    zone(tmp_path, "intel-rapl:0:1", "dram", 1_000_100)
    zone(tmp_path, "intel-rapl:1", "package-1", 12_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 99_000_900)
    clock.pass_(10)
    second = rapl.collect()
    assert second == CpuEnergy(
        {
            ("0", "package"): 3.500001,
            ("0", "core"): 0,
            ("0", "dram"): 1,
            ("1", "package"): 5,
            ("1", "dram"): 0,
            ("0", "psys"): 99,
        },
        pytest.approx((3.500001 + 5 + 1) / 10),
    )


def test_the_dies_of_a_package_are_one_package(tmp_path: Path) -> None:
    """Each is a zone of its own with parts of its own; so is the platform of a second package."""
    names = ("package-1-die-0", "package-1-die-1", "psys-1")
    for number, name in enumerate(names):
        zone(tmp_path, f"intel-rapl:{number}", name, 0)
        zone(tmp_path, f"intel-rapl:{number}:0", "dram", 0)
    clock = FakeClock()
    rapl = Rapl(tmp_path, clock)
    rapl.collect()
    for number, name in enumerate(names):
        zone(tmp_path, f"intel-rapl:{number}", name, (number + 1) * 1_000_000)
    clock.pass_(1)
    assert rapl.collect() == CpuEnergy(
        {("1", "package"): 3, ("1", "dram"): 0, ("1", "psys"): 3}, pytest.approx(3)
    )


def test_a_second_wrap_cannot_be_seen_so_a_hole_tells_no_power(tmp_path: Path) -> None:
    """The joules are then the least that was drawn; the next look tells power again."""
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    clock = FakeClock()
    rapl = Rapl(tmp_path, clock)
    rapl.collect()
    looks = []
    # Over the hole it drew two ranges and 5 J, and its counter stands where 5 J would leave it.
    for seconds, microjoules in ((600, 5_000_000), (10, 6_000_000)):
        zone(tmp_path, "intel-rapl:0", "package-0", microjoules)
        clock.pass_(seconds)
        looks.append(rapl.collect())
    assert looks == [
        CpuEnergy({("0", "package"): 5}, None),
        CpuEnergy({("0", "package"): 6}, pytest.approx(0.1)),
    ]


def test_a_counter_without_its_range_loses_what_a_wrap_hides(tmp_path: Path) -> None:
    """It never goes back, and counts on from where it stands."""
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    (folder / "max_energy_range_uj").unlink()
    rapl = Rapl(tmp_path, FakeClock())
    rapl.collect()
    joules = []
    for microjoules in (10_000_000, 4_000_000, 6_000_000):
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        told = rapl.collect()
        joules.append(told.joules["0", "package"] if told else None)
    assert joules == [1, 1, 3]


def test_an_amd_node_has_packages_and_cores_in_the_same_place(tmp_path: Path) -> None:
    """Its counter wraps four times as soon."""
    zone(tmp_path, "intel-rapl:0", "package-0", 65_532_610_000, 65_532_610_987)
    zone(tmp_path, "intel-rapl:0:0", "core", 1, 65_532_610_987)
    rapl = Rapl(tmp_path, FakeClock())
    rapl.collect()
    zone(tmp_path, "intel-rapl:0", "package-0", 13, 65_532_610_987)
    told = rapl.collect()
    assert told is not None
    assert told.joules == {("0", "package"): 0.001, ("0", "core"): 0}


def test_without_the_tree_there_is_nothing(tmp_path: Path) -> None:
    """No RAPL, as on Grace or in a virtual machine: silent."""
    assert Rapl(tmp_path).collect() is None
    assert Hwmon(tmp_path).collect() is None
    assert Ipmi(tmp_path).collect() is None


def test_a_counter_that_may_not_be_read_is_denied_and_says_how_to_grant_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is root's alone since 2020."""
    two_packages(tmp_path)

    def refuse(path: Path) -> int:
        raise PermissionError(path)

    monkeypatch.setattr("gpumon.host.rapl.number_of", refuse)
    with pytest.raises(DeniedError) as caught:
        Rapl(tmp_path).collect()
    assert "powercap" in caught.value.denied.needs
    assert caught.value.denied.grant


def test_a_permission_that_is_taken_away_is_denied_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the driver is loaded again, and with it come new files."""
    two_packages(tmp_path)
    rapl = Rapl(tmp_path, FakeClock())
    assert rapl.collect() is not None

    def refuse(path: Path) -> int:
        raise PermissionError(path)

    with monkeypatch.context() as patch:
        patch.setattr("gpumon.host.rapl.number_of", refuse)
        with pytest.raises(DeniedError):
            rapl.collect()
    assert rapl.collect() is not None


def meter(
    root: Path, number: int, microwatts: int, label: str = "", *, own_files: bool = False
) -> None:
    """Make a power meter as Linux does: its files are the ACPI device's, or (6.15) its own.

    The file of the label is there without one as well.
    """
    folder = root / "sys" / "class" / "hwmon" / f"hwmon{number}"
    (folder / "device").mkdir(parents=True)
    place = folder if own_files else folder / "device"
    (place / "name").write_text("power_meter\n")
    (place / "power1_average").write_text(f"{microwatts}\n")
    (place / "power1_oem_info").write_text(f"{label}\n")


def test_graces_modules_are_the_node_and_its_sockets_the_cpus(tmp_path: Path) -> None:
    """The rails are parts that do not add up, and are left alone."""
    for number, (label, watts) in enumerate(
        [
            ("Module Power Socket 0", 820),
            ("Grace Power Socket 0", 98),
            ("CPU Power Socket 0", 41),
            ("SysIO Power Socket 0", 14),
            ("Module Power Socket 1", 790),
            ("Grace Power Socket 1", 95),
        ]
    ):
        meter(tmp_path, number, watts * 1_000_000, label)
    (tmp_path / "sys" / "class" / "hwmon" / "hwmon9").mkdir()  # a fan, say
    assert Hwmon(tmp_path).collect() == MeteredPower(1610, "grace_module", 193)


def test_a_grace_without_module_power_tells_of_its_cpus_only(tmp_path: Path) -> None:
    """Then GPUs and sockets are added up."""
    meter(tmp_path, 0, 98_000_000, "Grace Power Socket 0")
    assert Hwmon(tmp_path).collect() == MeteredPower(None, "hwmon", 98)


def test_a_meter_without_a_label_is_the_whole_nodes(tmp_path: Path) -> None:
    """On x86; one that says 0 W is not connected."""
    meter(tmp_path, 0, 5_123_000_000)
    meter(tmp_path, 1, 0)
    assert Hwmon(tmp_path).collect() == MeteredPower(5123, "hwmon", None)


@pytest.mark.parametrize("label", ["", "Module Power Socket 0"])
def test_a_meter_is_found_where_newer_kernels_have_it(tmp_path: Path, label: str) -> None:
    """Since Linux 6.15 its files are its own and no longer the device's."""
    meter(tmp_path, 0, 700_000_000, label, own_files=True)
    told = Hwmon(tmp_path).collect()
    assert told is not None
    assert told.node_watts == 700


def test_another_drivers_power_is_not_the_nodes(tmp_path: Path) -> None:
    """A graphics card has a power1_average as well; a label nobody knows may be anything."""
    meter(tmp_path, 0, 90_000_000, own_files=True)
    (tmp_path / "sys" / "class" / "hwmon" / "hwmon0" / "name").write_text("amdgpu\n")
    meter(tmp_path, 1, 90_000_000, "Riser 2")
    assert Hwmon(tmp_path).collect() is None


def test_of_two_meters_of_the_whole_node_neither_is_taken(tmp_path: Path) -> None:
    """Added up they would count it twice, and nothing tells which of them measures what."""
    meter(tmp_path, 0, 5_000_000_000)
    meter(tmp_path, 1, 4_000_000_000)
    assert Hwmon(tmp_path).collect() is None


@pytest.mark.parametrize("microwatts", [0, -5_000_000, 0xFFFFFFFF * 1000])
def test_a_socket_that_says_nothing_leaves_no_sum(tmp_path: Path, microwatts: int) -> None:
    """Half of a node is not the node. All bits set is ACPI's word for an unknown value."""
    meter(tmp_path, 0, 820_000_000, "Module Power Socket 0")
    meter(tmp_path, 1, microwatts, "Module Power Socket 1")
    with pytest.raises(ValueError, match="every socket"):
        Hwmon(tmp_path).collect()
    meter(tmp_path, 2, 98_000_000, "Grace Power Socket 0")
    meter(tmp_path, 3, 95_000_000, "Grace Power Socket 1")
    assert Hwmon(tmp_path).collect() == MeteredPower(None, "hwmon", 193)


FREEIPMI = """\
Current Power                        : 5332 Watts
Minimum Power over sampling duration : 68 watts
Maximum Power over sampling duration : 10211 watts
Average Power over sampling duration : 4680 watts
Time Stamp                           : 11/03/2023 - 08:36:29
Statistics reporting time period     : 2685198000 milliseconds
Power Measurement                    : Active
"""
IPMITOOL = """

    Instantaneous power reading:                   220 Watts
    Minimum during sampling period:                 12 Watts
    Maximum during sampling period:                421 Watts
    Average power reading over sample period:      198 Watts
    IPMI timestamp:                           Fri Nov  3 08:36:29 2023
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   activated


"""


def test_both_programs_answers_are_read() -> None:
    """Whatever the case of the unit."""
    assert watts_of(FREEIPMI) == 5332
    assert watts_of(FREEIPMI.replace("Watts", "watts")) == 5332
    assert watts_of(IPMITOOL) == 220


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FREEIPMI.replace("5332", "0"), "0 W"),
        (IPMITOOL.replace("220", "0"), "0 W"),
        (FREEIPMI.replace(": Active", ": Not Available"), "Not Available"),
        (IPMITOOL.replace("activated", "deactivated"), "deactivated"),
        (FREEIPMI.replace("Power Measurement", "Other"), "no power reading"),
        ("", "no power reading"),
        ("Current Power : many Watts", "no power reading"),
    ],
)
def test_an_answer_that_tells_nothing_is_none(text: str, words: str) -> None:
    """A BMC without a sensor says 0 W and calls it active."""
    with pytest.raises(ValueError, match=words):
        watts_of(text)


def program(folder: Path, name: str, script: str) -> None:
    """Make a program."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bmc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a BMC and nothing to ask it with, but what the test puts into bin."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "ipmi0").touch()
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    return tmp_path


def test_the_bmc_is_asked_by_whichever_program_there_is(bmc: Path) -> None:
    """None: nothing. FreeIPMI's is preferred."""
    assert Ipmi(bmc, superuser=True).collect() is None
    (bmc / "it").write_text(IPMITOOL)
    (bmc / "fi").write_text(FREEIPMI)
    program(bmc / "bin", "ipmitool", f'[ "$*" = "dcmi power reading" ] && /bin/cat {bmc / "it"}')
    assert Ipmi(bmc, superuser=True).collect() == 220
    program(bmc / "bin", "ipmi-dcmi", f"/bin/cat {bmc / 'fi'}")
    assert Ipmi(bmc, superuser=True).collect() == 5332


def test_freeipmi_is_asked_by_root_alone(bmc: Path) -> None:
    """It refuses all others, the device's group too; ipmitool does not, and is asked instead."""
    program(bmc / "bin", "ipmi-dcmi", "echo 'ipmi-dcmi: permission denied' >&2; exit 1")
    with pytest.raises(DeniedError) as caught:
        Ipmi(bmc, superuser=False).collect()
    assert "ipmitool" in caught.value.denied.grant
    (bmc / "it").write_text(IPMITOOL)
    program(bmc / "bin", "ipmitool", f"/bin/cat {bmc / 'it'}")
    assert Ipmi(bmc, superuser=False).collect() == 220


def test_a_bmc_that_does_not_answer_is_given_up_on(bmc: Path) -> None:
    """The program is ended; none is left behind."""
    program(bmc / "bin", "ipmitool", f"echo $$ > {bmc / 'pid'}; exec /bin/sleep 60")
    with pytest.raises(ValueError, match="did not answer"):
        Ipmi(bmc, seconds=0.5).collect()
    pid = (bmc / "pid").read_text().strip()
    assert not Path(f"/proc/{pid}").exists()


def test_a_program_may_let_go_of_the_device_before_it_is_ended(bmc: Path) -> None:
    """It is asked first."""
    asked = bmc / "asked"
    program(
        bmc / "bin",
        "ipmitool",
        f"trap 'echo yes > {asked}; exit' TERM; while :; do /bin/sleep 0.05; done",
    )
    with pytest.raises(ValueError, match="did not answer"):
        Ipmi(bmc, seconds=1.5).collect()
    assert asked.read_text() == "yes\n"


def test_a_program_that_does_not_end_is_made_to_with_all_that_it_started(
    bmc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it is a site's own script around the real one; none is left to ask a second time.

    What the script started holds a pipe, which ends when the last of them is gone.
    """
    monkeypatch.setattr("gpumon.host.ipmi._GRACE_SECONDS", 0.1)
    pipe = bmc / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    program(
        bmc / "bin",
        "ipmitool",
        f"trap '' TERM; exec 3> {pipe}; echo begun >&3; /bin/sleep 60; /bin/sleep 60",
    )
    with pytest.raises(ValueError, match="did not answer"):
        Ipmi(bmc, seconds=1.5).collect()
    os.set_blocking(reader, True)
    with os.fdopen(reader) as told:
        assert told.read() == "begun\n"


def test_garbage_is_not_a_reading(bmc: Path) -> None:
    """Whatever bytes they are."""
    program(bmc / "bin", "ipmitool", r"printf '\377\000\033[2J 12 Watts'")
    with pytest.raises(ValueError, match="no power reading"):
        Ipmi(bmc).collect()


def test_a_program_that_fails_is_quoted(bmc: Path) -> None:
    """Its first line says why."""
    program(bmc / "bin", "ipmitool", "echo 'Could not open device' >&2; exit 1")
    with pytest.raises(ValueError, match="Could not open device"):
        Ipmi(bmc).collect()


def test_a_device_that_may_not_be_opened_is_denied(bmc: Path) -> None:
    """And how to grant just that."""
    program(bmc / "bin", "ipmitool", "exit 1")
    with pytest.raises(DeniedError, match="ipmi0"):
        Ipmi(bmc, openable=lambda _: False).collect()
