"""Which GPUs there are: those that came later, those of another driver, those without a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumon.model import GpuIdentity, GpuReading, GpuState, PassedThrough
from gpumon.model.terms import unknown_uuid
from gpumon.sources.nvml.bus import BusGpu, boards
from gpumon.sources.nvml.library import FaultError
from gpumon.sources.nvml.roll import LOOK_SECONDS, RENEW_SECONDS, Roll
from tests.support.clock import FakeClock


class Bus:
    """A folder like /sys/bus/pci/devices."""

    def __init__(self, folder: Path) -> None:
        """Have no device."""
        self.folder = folder / "devices"
        self.folder.mkdir()

    def put(
        self, address: str, driver: str = "nvidia", vendor: str = "0x10de", kind: str = "0x030200"
    ) -> None:
        """Put a device there, or give it another driver; an empty one is none."""
        device = self.folder / address
        device.mkdir(exist_ok=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
        (device / "driver").unlink(missing_ok=True)
        if driver:
            (device / "driver").symlink_to(f"../../drivers/{driver}")


class Library:
    """Counts as many GPUs as it is told to have."""

    def __init__(self, count: int) -> None:
        """Have these."""
        self.gpus = count
        self.fails = False

    def count(self) -> int:
        """Return their number."""
        if self.fails:
            raise FaultError(999, "nvmlDeviceGetCount", "unknown")
        return self.gpus


@pytest.fixture
def bus(tmp_path: Path) -> Bus:
    """A bus with two GPUs, a network card and an audio function of NVIDIA's."""
    found = Bus(tmp_path)
    found.put("0000:18:00.0")
    found.put("0000:2a:00.0")
    found.put("0000:2a:00.1", driver="snd_hda_intel", kind="0x040300")
    found.put("0000:05:00.0", driver="mlx5_core", vendor="0x15b3", kind="0x020700")
    return found


def reading(index: int, uuid: str = "", at: str = "") -> GpuReading:
    """Return a GPU; without a uuid one that has said nothing."""
    identity = GpuIdentity(index, uuid or unknown_uuid(f"gpu{index}"), pci_bus_id=at)
    return GpuReading(identity=identity, state=GpuState.OK if uuid else GpuState.LOST)


def begun(library: Library, clock: FakeClock, bus: Bus) -> Roll:
    """Return the roll of a driver that has just been initialized."""
    roll = Roll(library, clock, bus.folder)
    roll.begin()
    roll.listed(library.gpus)
    return roll


def looked(roll: Roll, clock: FakeClock) -> None:
    """Let it look again."""
    clock.pass_(LOOK_SECONDS)
    roll.look()
    assert roll.join(5)


def test_the_bus_has_gpus_and_their_drivers(bus: Bus) -> None:
    """As NVML writes addresses, in its order; neither a GPU's other functions nor other cards."""
    bus.put("0001:01:00.0", driver="vfio-pci", kind="0x030000")
    bus.put("0000:c0:00.0", driver="")
    assert boards(bus.folder) == (
        BusGpu("00000000:18:00.0", "nvidia"),
        BusGpu("00000000:2A:00.0", "nvidia"),
        BusGpu("00000000:C0:00.0", ""),
        BusGpu("00000001:01:00.0", "vfio-pci"),
    )
    assert boards(bus.folder / "none") == ()


def test_a_virtual_function_is_not_a_board(bus: Bus) -> None:
    """A host of vGPUs has dozens, whatever drives them; each names the GPU that it is of."""
    before = boards(bus.folder)
    for address, driver in (("0000:18:00.4", "nvidia"), ("0000:18:00.5", "vfio-pci")):
        bus.put(address, driver)
        (bus.folder / address / "physfn").symlink_to("../0000:18:00.0")
    assert boards(bus.folder) == before


def test_a_gpu_that_comes_to_the_driver_is_a_reason_to_list_anew(bus: Bus) -> None:
    """Once for each address: if NVML still lacks it, that is said and not tried for ever."""
    clock, library = FakeClock(), Library(2)
    roll = begun(library, clock, bus)
    looked(roll, clock)
    assert not roll.grown()
    bus.put("0000:3b:00.0")
    looked(roll, clock)
    assert roll.grown()
    roll.renewed()
    roll.begin()
    roll.listed(2)
    clock.pass_(RENEW_SECONDS)
    assert not roll.grown()
    there = [reading(0, "GPU-0", "00000000:18:00.0"), reading(1, "GPU-1", "00000000:2A:00.0")]
    assert roll.unlisted(there) == ("00000000:3B:00.0",)
    assert roll.unlisted([*there, reading(2, "GPU-2", "00000000:3B:00.0")]) == ()


def test_a_count_that_grows_is_one_too_but_not_again_and_again(bus: Bus) -> None:
    """A driver whose count flaps is left in peace for some minutes."""
    clock, library = FakeClock(), Library(2)
    roll = begun(library, clock, bus)
    library.gpus = 3
    looked(roll, clock)
    assert roll.grown()
    roll.renewed()
    roll.begin()
    roll.listed(2)
    looked(roll, clock)
    assert not roll.grown()
    clock.pass_(RENEW_SECONDS)
    assert roll.grown()


def test_fewer_gpus_or_a_count_that_fails_are_none(bus: Bus) -> None:
    """What is wrong with a GPU that is there its own calls say."""
    clock, library = FakeClock(), Library(2)
    roll = begun(library, clock, bus)
    library.gpus = 1
    looked(roll, clock)
    assert not roll.grown()
    library.gpus, library.fails = 9, True
    looked(roll, clock)
    assert not roll.grown()


def test_gpus_that_a_container_may_not_see_are_not_missed(bus: Bus) -> None:
    """The bus had them when NVML was initialized, which lists one of two."""
    clock, library = FakeClock(), Library(1)
    roll = begun(library, clock, bus)
    looked(roll, clock)
    assert not roll.grown()
    assert roll.unlisted([reading(0, "GPU-0", "00000000:18:00.0")]) == ()


def test_a_gpu_of_another_driver_is_passed_through_until_it_comes_back(bus: Bus) -> None:
    """One without a driver is not: that may be a board which failed."""
    clock, library = FakeClock(), Library(1)
    bus.put("0000:2a:00.0", driver="vfio-pci")
    bus.put("0000:c0:00.0", driver="")
    roll = begun(library, clock, bus)
    assert roll.passed_through() == (PassedThrough("00000000:2A:00.0", "vfio-pci"),)
    bus.put("0000:2a:00.0", driver="nvidia")
    looked(roll, clock)
    assert roll.passed_through() == ()
    assert roll.grown()


def test_a_lost_gpu_has_the_address_that_is_left(bus: Bus) -> None:
    """Two lost ones have their addresses in the driver's order; no uuid is empty."""
    bus.put("0000:3b:00.0")
    roll = begun(Library(3), FakeClock(), bus)
    named = roll.named((reading(0), reading(1, "GPU-1", "00000000:2A:00.0"), reading(2)))
    assert [(g.identity.uuid, g.identity.pci_bus_id) for g in named] == [
        ("unknown:00000000:18:00.0", "00000000:18:00.0"),
        ("GPU-1", "00000000:2A:00.0"),
        ("unknown:00000000:3B:00.0", "00000000:3B:00.0"),
    ]


def test_without_a_bus_a_lost_gpu_has_its_index(tmp_path: Path) -> None:
    """Which is no other GPU's either."""
    roll = Roll(Library(2), FakeClock(), tmp_path / "none")
    roll.begin()
    named = roll.named((reading(0), reading(1)))
    assert [gpu.identity.uuid for gpu in named] == ["unknown:gpu0", "unknown:gpu1"]


def test_two_boards_with_one_uuid_are_two(bus: Bus) -> None:
    """A cloned InfoROM: the second is named by its address; no series or account is of both."""
    roll = begun(Library(2), FakeClock(), bus)
    named = roll.named(
        (reading(0, "GPU-x", "00000000:18:00.0"), reading(1, "GPU-x", "00000000:2A:00.0"))
    )
    assert [gpu.identity.uuid for gpu in named] == ["GPU-x", "unknown:00000000:2A:00.0"]
