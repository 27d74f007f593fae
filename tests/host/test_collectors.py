"""What the host's collectors make of trees of /sys and of BMCs, good and bad."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.host.basics import Basics
from gpumon.host.collector import AbsentError, DeniedError
from gpumon.host.hwmon import Hwmon, MeteredPower
from gpumon.host.ipmi import Ipmi, flag_of, watts_of
from gpumon.host.rapl import CpuEnergy, Rapl
from gpumon.refusals import Refusals
from tests.support.clock import FakeClock
from tests.support.fuzz import FUZZ

HERE = Path(__file__).parent

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
        (FREEIPMI.replace("Power Measurement", "Other"), "no power reading"),
        ("", "no power reading"),
        ("Current Power : many Watts", "no power reading"),
    ],
)
def test_an_answer_that_tells_nothing_is_none(text: str, words: str) -> None:
    """A BMC without a sensor says 0 W and calls it active."""
    with pytest.raises(ValueError, match=words):
        watts_of(text)


@pytest.mark.parametrize(
    ("text", "watts", "flag"),
    [
        ((HERE / "openbmc-deactivated.txt").read_text(), 360, "deactivated"),
        (FREEIPMI.replace(": Active", ": Not Available"), 5332, "Not Available"),
        (IPMITOOL.replace("activated", "deactivated"), 220, "deactivated"),
        (IPMITOOL, 220, ""),
        (FREEIPMI, 5332, ""),
    ],
)
def test_a_usable_value_is_used_with_its_flag(text: str, watts: int, flag: str) -> None:
    """OpenBMC measures, and never sets the bit that says so."""
    assert (watts_of(text), flag_of(text)) == (watts, flag)


@FUZZ
@given(st.lists(st.sampled_from([*FREEIPMI.split("\n"), *IPMITOOL.split("\n")]) | st.text()))
def test_no_reply_of_a_bmc_is_too_strange(lines: list[str]) -> None:
    """It is a positive number of watts with words that can be printed, or an error in words."""
    text = "\n".join(lines)
    assert flag_of(text).isprintable()
    with contextlib.suppress(ValueError):
        assert watts_of(text) > 0


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


NO_DCMI = [
    ("ipmitool", "\n    DCMI request failed because: Invalid command (c1)"),
    ("ipmitool", "\n    DCMI request failed because: Command not supported in present state (d5)"),
    ("ipmitool", "\n    DCMI request failed because: Invalid data field in request (cc)"),
    ("ipmitool", "\n    DCMI request failed because: Unspecified error (ff)"),
    ("ipmitool", "\n    A valid DCMI command was not returned! (80)"),
    ("ipmi-dcmi", "ipmi_cmd_dcmi_get_power_reading: command invalid or unsupported"),
    ("ipmi-dcmi", "ipmi_cmd_dcmi_get_power_reading: bad completion code"),
]


@pytest.mark.parametrize(("name", "words"), NO_DCMI)
def test_a_bmc_that_cannot_measure_is_absent(bmc: Path, name: str, words: str) -> None:
    """It says so in the words of either program: nothing fails."""
    program(bmc / "bin", name, f"echo '{words}' >&2; exit 1")
    with pytest.raises(AbsentError, match="does not measure"):
        Ipmi(bmc, superuser=True).collect()


@pytest.mark.parametrize(
    "words",
    [
        "DCMI request failed because: Node busy (c0)",
        "DCMI request failed because: Timeout (c3)",
        "DCMI request failed because: BMC initialization in progress (d2)",
        "Unable to get DCMI information",
        "ipmi_cmd_dcmi_get_power_reading: session timeout",
    ],
)
def test_a_bmc_that_cannot_just_now_fails(bmc: Path, words: str) -> None:
    """It may be able to the next time, or has broken."""
    program(bmc / "bin", "ipmitool", f"echo '{words}' >&2; exit 1")
    with pytest.raises(ValueError, match="ipmitool failed"):
        Ipmi(bmc).collect()


@pytest.mark.parametrize("watts", [65_535, 65_534, 65_280, 50_001, 999_999_999])
def test_watts_that_no_node_draws_are_refused_and_counted(bmc: Path, watts: int) -> None:
    """All bits set is what a BMC says that does not know."""
    (bmc / "it").write_text(IPMITOOL.replace("220", str(watts)))
    program(bmc / "bin", "ipmitool", f"/bin/cat {bmc / 'it'}")
    refusals = Refusals()
    ipmi = Ipmi(bmc, refusals=refusals)
    for count in (1, 2):
        with pytest.raises(AbsentError, match=f"{watts} W"):
            ipmi.collect()
        assert refusals.counts == {"node_power": count}


def unreadable(monkeypatch: pytest.MonkeyPatch, module: str, sick: Callable[[Path], bool]) -> None:
    """Let some files of /sys fail as a broken sensor's do."""

    def read(path: Path) -> int:
        if sick(path):
            raise OSError(5, "Input/output error")
        return int(path.read_text())

    monkeypatch.setattr(f"gpumon.host.{module}.number_of", read)


def test_one_zone_that_cannot_be_read_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once; its joules are added when it can be read again. Power is not known then."""
    two_packages(tmp_path)
    clock = FakeClock()
    rapl = Rapl(tmp_path, clock)
    rapl.collect()
    sick = [True]
    unreadable(
        monkeypatch, "rapl", lambda p: sick[0] and p.parts[-2:] == ("intel-rapl:1", "energy_uj")
    )
    looks = []
    for second in (1, 2, 3, 4):
        sick[0] = second < 3
        zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 1_000_000 + second * 100_000)
        zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000 + second * 1_000_000)
        clock.pass_(10)
        told = rapl.collect()
        assert told is not None
        looks.append((told.joules["0", "package"], told.joules["1", "package"], told.watts))
    assert looks == [
        (pytest.approx(0.1), 0, None),
        (pytest.approx(0.2), 0, None),
        (pytest.approx(0.3), 3, None),
        (pytest.approx(0.4), 4, pytest.approx(0.11)),
    ]
    assert caplog.text.count("cannot be read") == 1


def test_a_zone_that_goes_is_dropped_and_one_that_comes_back_taken_up(tmp_path: Path) -> None:
    """Without a restart, with the joules that it had, and none for the time that it was away."""
    two_packages(tmp_path)
    clock = FakeClock()
    rapl = Rapl(tmp_path, clock)
    rapl.collect()
    folder = tmp_path / "sys" / "class" / "powercap"

    def look(microjoules: int | None) -> tuple[float, float, float | None]:
        shutil.rmtree(folder / "intel-rapl:1", ignore_errors=True)
        if microjoules is not None:
            zone(tmp_path, "intel-rapl:1", "package-1", microjoules)
        clock.pass_(10)
        told = rapl.collect()
        assert told is not None
        return told.joules["0", "package"], told.joules["1", "package"], told.watts

    zone(tmp_path, "intel-rapl:1", "package-1", 12_000_000)
    clock.pass_(10)
    assert rapl.collect().joules["1", "package"] == 5  # type: ignore[union-attr]
    assert look(None) == (0, 5, 0)
    assert look(None) == (0, 5, 0)
    # The driver was loaded again, and its counter began again, higher than it was or not.
    assert look(99_000_000) == (0, 5, None)
    zone(tmp_path, "intel-rapl:1", "package-1", 100_000_000)
    clock.pass_(10)
    assert rapl.collect().joules["1", "package"] == 6  # type: ignore[union-attr]


def test_another_zone_under_an_old_name_is_another_counter(tmp_path: Path) -> None:
    """Loaded again, the driver may number the packages otherwise; joules stay with the package."""
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 1_000_000)
    rapl = Rapl(tmp_path, FakeClock())
    rapl.collect()
    zone(tmp_path, "intel-rapl:0", "package-0", 3_000_000)
    assert rapl.collect().joules == {("0", "package"): 2, ("1", "package"): 0}  # type: ignore[union-attr]
    for number, name in (("0", "package-1"), ("1", "package-0")):
        place = tmp_path / "sys" / "class" / "powercap" / f"intel-rapl:{number}"
        (place / "energy_uj").rename(place / "old")
        zone(tmp_path, f"intel-rapl:{number}", name, 50_000_000)
    rapl.collect()
    zone(tmp_path, "intel-rapl:0", "package-1", 51_000_000)
    assert rapl.collect().joules == {("0", "package"): 2, ("1", "package"): 1}  # type: ignore[union-attr]


def test_a_counter_that_began_again_makes_no_joules(tmp_path: Path) -> None:
    """What looks like a wrap would be 26 kW; it is refused, counted, and counting goes on."""
    zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000_000)
    clock, refusals = FakeClock(), Refusals()
    rapl = Rapl(tmp_path, clock, refusals)
    rapl.collect()
    joules = []
    for microjoules in (1_000_000, 4_000_000, 900_000_000_000, 900_002_000_000):
        zone(tmp_path, "intel-rapl:0", "package-0", microjoules)
        clock.pass_(10)
        told = rapl.collect()
        joules.append(told.joules["0", "package"] if told else None)
    assert joules == [0, 3, 3, 5]
    assert refusals.counts == {"cpu_energy": 2}


def test_if_no_zone_can_be_read_that_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the absence of hardware that is there."""
    two_packages(tmp_path)
    unreadable(monkeypatch, "rapl", lambda _: True)
    with pytest.raises(OSError, match="Input/output error"):
        Rapl(tmp_path).collect()


def test_a_zone_that_may_not_be_read_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site may open a package's counter and leave its parts to root."""
    two_packages(tmp_path)

    def refuse(path: Path) -> int:
        if ":0:" in str(path):
            raise PermissionError(path)
        return int(path.read_text())

    monkeypatch.setattr("gpumon.host.rapl.number_of", refuse)
    told = Rapl(tmp_path, FakeClock()).collect()
    assert told is not None
    assert ("0", "package") in told.joules
    assert ("0", "dram") not in told.joules


def test_one_meter_that_cannot_be_read_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever it is: another board's, or one of Grace's rails."""
    meter(tmp_path, 0, 1_000_000)
    meter(tmp_path, 1, 5_123_000_000)
    unreadable(monkeypatch, "hwmon", lambda p: "hwmon0" in str(p))
    hwmon = Hwmon(tmp_path)
    assert [hwmon.collect() for _ in range(3)] == [MeteredPower(5123, "hwmon", None)] * 3
    assert caplog.text.count("cannot be read") == 1


def test_a_meter_that_once_measured_is_not_forgotten_while_it_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two meters of the whole node are not one because the other is away."""
    meter(tmp_path, 0, 5_000_000_000)
    meter(tmp_path, 1, 4_000_000_000)
    sick = [False]
    unreadable(monkeypatch, "hwmon", lambda p: sick[0] and "hwmon0" in str(p))
    hwmon = Hwmon(tmp_path)
    assert hwmon.collect() is None
    sick[0] = True
    with pytest.raises(OSError, match="Input/output error"):
        hwmon.collect()


def test_a_module_that_cannot_be_read_leaves_the_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the modules are not the node, but the CPUs are known."""
    for number, label in enumerate(("Module", "Grace", "Module", "Grace")):
        meter(tmp_path, number, 100_000_000, f"{label} Power Socket {number // 2}")
    unreadable(monkeypatch, "hwmon", lambda p: "hwmon2" in str(p))
    assert Hwmon(tmp_path).collect() == MeteredPower(None, "hwmon", 200)


def test_watts_that_no_meter_can_mean_are_counted(tmp_path: Path) -> None:
    """Where they are refused."""
    meter(tmp_path, 0, 0xFFFFFFFF * 1000)
    meter(tmp_path, 1, 700_000_000)
    refusals = Refusals()
    assert Hwmon(tmp_path, refusals).collect() == MeteredPower(700, "hwmon", None)
    assert refusals.counts == {"node_power": 1}


def test_what_the_kernel_cannot_mean_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """All readings of a host have bounds, those of its memory and CPUs as well."""
    memory = SimpleNamespace(total=2**64 - 1, available=2**30)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    monkeypatch.setattr("psutil.cpu_count", lambda: 2**32 - 1)
    refusals = Refusals()
    told = Basics(refusals).collect()
    assert (told.cpus, told.memory_total_bytes, told.memory_available_bytes) == (None, None, 2**30)
    assert refusals.counts == {"node_cpus": 1, "node_memory_total": 1}
