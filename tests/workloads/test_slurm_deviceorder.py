"""When it is looked again what Slurm's numbers mean."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gpumon.model import MigIdentity
from gpumon.workloads.knowngpus import Instance
from gpumon.workloads.slurm import gresconf, gresindex, slurmd
from gpumon.workloads.slurm.deviceorder import DeviceOrder
from tests.support.clock import FakeClock
from tests.workloads.fakeslurm import FakeSlurm

FIRST = "Gres Name=gpu Type=h200 Count=1 Index=0 ID=7696487 File=/dev/nvidia{}"
PART = "Gres Name=gpu Type=1g Count=1 Index=0 ID=7696487 File=/dev/nvidia0,{0}/nvidia-cap{1}"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Return a Slurm whose slurmd can be run by anybody."""
    found = FakeSlurm(tmp_path, monkeypatch)
    monkeypatch.setattr(slurmd, "_nobody", dict)
    return found


def names(order: DeviceOrder) -> tuple[object, ...] | str | None:
    """Return what the numbers of n1 mean, or why that is not known; None if it is to be asked."""
    found = order.now("n1")
    return None if found is None else found.problem or found.names


def look(order: DeviceOrder) -> tuple[object, ...] | str | None:
    """Look again, and return what the numbers of n1 mean."""
    asyncio.run(order.refresh(["n1"]))
    return names(order)


def parts(*numbers: int) -> dict[str, list[MigIdentity]]:
    """Return instances of the first GPU by the numbers of their GPU instances."""
    return {"GPU-0": [MigIdentity(f"MIG-{n}", "1g.18gb", n, 0) for n in numbers]}


def test_other_mig_instances_have_other_numbers(slurm: FakeSlurm) -> None:
    """No file of Slurm's changes with them; until slurmd is asked, the order is not known."""
    slurm.gres_conf("AutoDetect=nvml\n")
    order = DeviceOrder(FakeClock())
    slurm.says("slurmd", "\n".join(PART.format("/dev/nvidia-caps", cap) for cap in (21, 30)))
    before = ((Instance(0, 2),), (Instance(0, 3),))
    order.see(parts(2, 3))
    assert look(order) == before
    order.see(parts(3, 2))
    assert names(order) == before
    slurm.says("slurmd", PART.format("/dev/nvidia-caps", 12))
    order.see(parts(1))
    assert names(order) is None
    assert look(order) == ((Instance(0, 1),),)
    assert len(slurm.asked("slurmd")) == 2


def test_what_slurmd_says_while_instances_change_is_not_kept(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be of those before."""
    slurm.gres_conf("AutoDetect=nvml\n")
    slurm.says("slurmd", PART.format("/dev/nvidia-caps", 12))
    order = DeviceOrder(FakeClock())
    order.see(parts(1))
    asked = gresindex.from_slurmd

    def meanwhile(node: str) -> object:
        said = asked(node)
        order.see(parts(2))
        return said

    monkeypatch.setattr("gpumon.workloads.slurm.deviceorder.from_slurmd", meanwhile)
    assert look(order) is None
    assert look(order) == ((Instance(0, 1),),)


def test_instances_that_are_seen_after_slurmd_was_asked_are_those_of_its_answer(
    slurm: FakeSlurm,
) -> None:
    """An agent that starts asks once."""
    slurm.gres_conf("AutoDetect=nvml\n")
    slurm.says("slurmd", PART.format("/dev/nvidia-caps", 12))
    order = DeviceOrder(FakeClock())
    assert look(order) == ((Instance(0, 1),),)
    order.see(parts(1))
    assert names(order) == ((Instance(0, 1),),)


def test_a_gpu_that_is_gone_changes_no_number(slurm: FakeSlurm) -> None:
    """A slurmd -G of now would count without it; the slurmd that runs does not."""
    slurm.gres_conf("AutoDetect=nvml\n")
    slurm.says("slurmd", PART.format("/dev/nvidia-caps", 12))
    order = DeviceOrder(FakeClock())
    for seen in (parts(1), {}, parts(1)):
        order.see(seen)
        assert look(order) == ((Instance(0, 1),),)
    assert len(slurm.asked("slurmd")) == 1


@pytest.mark.parametrize("including", ["gres.conf", "slurm.conf"])
def test_a_change_in_an_included_file_holds_from_the_next_look_on(
    slurm: FakeSlurm, tmp_path: Path, including: str
) -> None:
    """Of either file, and of what those include; one that includes itself ends."""
    folder = tmp_path / "etc"
    slurm.gres_conf("AutoDetect=nvml\n")
    (folder / including).write_text(f"{(folder / including).read_text()}Include more.conf\n")
    (folder / "more.conf").write_text("Include nodes.conf\n")
    (folder / "nodes.conf").write_text("# 1\n")
    slurm.says("slurmd", FIRST.format(0))
    order = DeviceOrder(FakeClock())
    assert look(order) == ((0,),)
    slurm.says("slurmd", FIRST.format(3))
    assert look(order) == ((0,),)
    (folder / "nodes.conf").write_text("# one more\n")
    assert look(order) == ((3,),)
    (folder / "nodes.conf").write_text("Include more.conf\n")
    assert len(gresconf.files_of(folder / including)) == 3


def test_a_file_that_cannot_be_read_for_a_moment_is_read_again(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it changes when it can be read again."""
    slurm.gres_conf("Name=gpu File=/dev/nvidia[2-3]\n")
    clock = FakeClock()
    order = DeviceOrder(clock)
    text = gresconf._text

    def stale(path: Path) -> str:
        raise OSError(116, "Stale file handle", str(path))

    monkeypatch.setattr(gresconf, "_text", stale)
    problem = look(order)
    assert isinstance(problem, str)
    assert "gres.conf cannot be read" in problem
    monkeypatch.setattr(gresconf, "_text", text)
    clock.pass_(599.0)
    assert look(order) == problem
    clock.pass_(1.0)
    assert look(order) == ((2,), (3,))


def test_a_slurmd_that_contradicts_itself_is_asked_again(slurm: FakeSlurm) -> None:
    """It may have looked while the devices came; it is asked until it is known, and not after."""
    slurm.gres_conf("AutoDetect=nvml\n")
    clock = FakeClock()
    order = DeviceOrder(clock)
    slurm.says("slurmd", "Gres Name=gpu Type=h200 Count=3 ID=7696487 File=/dev/nvidia[0-1]\n")
    assert look(order) == look(order) == "slurmd -G counts 3 GPUs of 2 files"
    slurm.says("slurmd", FIRST.format(1))
    clock.pass_(600.0)
    assert look(order) == ((1,),)
    clock.pass_(3600.0)
    assert look(order) == ((1,),)
    assert len(slurm.asked("slurmd")) == 2
