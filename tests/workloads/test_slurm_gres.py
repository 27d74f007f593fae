"""Which GPU a number of Slurm's means: gres.conf as people write it, slurmd's own list, MIG."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import psutil
import pytest

from gpumon.workloads.knowngpus import Instance
from gpumon.workloads.slurm import devicefiles
from gpumon.workloads.slurm.devicefiles import gpu_names
from gpumon.workloads.slurm.gres import NotKnownError, gpu_numbers, parse_gres
from gpumon.workloads.slurm.gresconf import parse_gres_conf
from gpumon.workloads.slurm.gresindex import (
    ASSUMED,
    GresIndex,
    from_gres_conf,
    from_slurmd,
    without_slurmd,
)
from gpumon.workloads.slurm.hostlist import HostlistError, expand, ranges
from gpumon.workloads.slurm.slurmd import parse_slurmd
from tests.support.servers import missing

FILES = Path(__file__).parent / "slurm"


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a gres.conf to write, of a machine on which slurmd says nothing."""
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("gpumon.workloads.slurm.slurmd.SBIN", "")
    return tmp_path / "gres.conf"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,n[01-03,7]x,b2", ["a", "n01x", "n02x", "n03x", "n7x", "b2"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("/dev/nvidia[3,2,1,0]", [f"/dev/nvidia{n}" for n in (3, 2, 1, 0)]),
        ("n[8-10]", ["n8", "n9", "n10"]),
        ("", []),
        (",a,", ["a"]),
    ],
)
def test_lists_of_names(text: str, names: list[str]) -> None:
    """As Slurm writes them, with as many brackets as a name has."""
    assert expand(text) == names


@pytest.mark.parametrize(
    "text",
    ["n[1", "n1]", "n[[1]]", "n[a-c]", "n[3-1]", "n[1-999999999]", "r[1-999]n[1-999]", "n[]"],
)
def test_what_is_not_a_list_or_would_fill_the_memory_is_an_error(text: str) -> None:
    """And not fewer names than were meant."""
    with pytest.raises(HostlistError):
        expand(text)


def test_lists_of_numbers() -> None:
    """As IDX has them."""
    assert ranges("0-1,3") == [0, 1, 3]
    for text in ("", "a", "1-", "-1", "0-1000000", "٣"):
        with pytest.raises(HostlistError):
            ranges(text)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("gpu:h200:2(IDX:0-1)", (0, 1)),
        ("gpu:1(IDX:3)", (3,)),
        ("lscratch(CNT:10),gpu:h200:1(IDX:0)", (0,)),
        ("gpu:h200:1(IDX:0),gpu:a100:1(IDX:2)", (0, 2)),
        ("gpu:a100:3(IDX:0-1,3),nic:2(IDX:4-5)", (0, 1, 3)),
        ("shard:2(IDX:0)", (0,)),
        ("mps:50(IDX:1)", (1,)),
        ("shard:a100:2(0/4,2/4,0/4)", (1,)),
        ("gpu:a100:1(IDX:1),shard:a100:2(IDX:1)", (1,)),
        ("gpu:h200:0(IDX:)", ()),
        ("vgpu:4(IDX:0-3)", ()),
        ("gpu_mem:8(IDX:0-7)", ()),
        ("lscratch(CNT:10)", ()),
        ("", ()),
        ("(null)", ()),
    ],
)
def test_the_gpus_in_a_jobs_resources(text: str, numbers: tuple[int, ...]) -> None:
    """Of any type, in any order, whole or shared; no other resource is one."""
    assert gpu_numbers(text) == numbers


@pytest.mark.parametrize(
    "text",
    [
        "gpu:h200(CNT:2)",
        "gpu:h200:2",
        "gpu:h200:2(IDX:0)",
        "gpu:h200:1(IDX:0-7)",
        "gpu:h200:1(IDX:x)",
        "shard:2(IDX:)",
        "mps:50(CNT:50)",
        "gpu:h200:1(IDX:0",
        "gpu:h200:1)IDX:0(",
        "gpu:a:b:1(IDX:0)",
        "gpu h200:1(IDX:0)",
    ],
)
def test_gpus_that_are_counted_and_not_named_are_not_known(text: str) -> None:
    """Nor are those of a text that contradicts itself."""
    with pytest.raises(NotKnownError):
        gpu_numbers(text)


def test_counts_with_suffixes_and_without() -> None:
    """As slurm.conf takes them."""
    found = parse_gres("gpu:h200:no_consume:4(S:0-1,3),vgpu:4,lustre:4K,gpu,gpu:a100")
    assert [(gres.name, gres.type, gres.count) for gres in found] == [
        ("gpu", "h200", 4),
        ("vgpu", "", 4),
        ("lustre", "", 4096),
        ("gpu", "", 1),
        ("gpu", "a100", 1),
    ]


def minors(devices: GresIndex | None) -> list[object]:
    """Return the names of each number; those of one GPU as that alone."""
    assert devices is not None
    assert devices.names is not None, devices.problem
    return [names[0] if len(names) == 1 else names for names in devices.names]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NodeName=n[1-2] Name=gpu Type=h200 File=/dev/nvidia[3,2,1,0]\n", [3, 2, 1, 0]),
        ("NodeName=r[1-2]n[1-4],n1 Name=gpu File=/dev/nvidia[0-1]\n", [0, 1]),
        ("Name = gpu  Type = h200 \\\n  File = /dev/nvidia0\n", [0]),
        ("name=GPU TYPE=H200 FILE=/dev/nvidia0\nNAME=gpu Type=h200 files=/dev/nvidia2", [0, 2]),
        ("# AutoDetect=nvml\nName=gpu File=/dev/nvidia[0-1] # of old: [2-3]\n", [0, 1]),
        ('Name=gpu Type="h200" File="/dev/nvidia[2,0]"\n', [2, 0]),
        ("AutoDetect=nvml\nNodeName=n1 AutoDetect=off Name=gpu File=/dev/nvidia[0-1]\n", [0, 1]),
        ("NodeName=n1 Name=gpu File=/dev/nvidia0\nName=gpu File=/dev/nvidia1\n", [1, 0]),
        ("Name=gpu File=/dev/nvidia[0-1]\nNodeName=n9 Name=gpu File=/dev/nvidia7\n", [0, 1]),
        ("Name=gpu File=/dev/nvidia0 Cores=0-3 Links=-1,4\nName=nic File=/dev/mlx0\n", [0]),
        ("Name=gpu File=/dev/gpu-a2\n", [2]),
    ],
)
def test_gres_conf_as_people_write_it(conf: Path, text: str, expected: list[object]) -> None:
    """Brackets, blanks, quotes, any case, comments, lines that go on, other nodes, two orders."""
    conf.write_text(text)
    assert minors(from_gres_conf("n1")) == expected


def test_included_files_are_read(conf: Path) -> None:
    """One that is not there leaves the order unknown."""
    conf.write_text("Include gpus.conf\nName=gpu File=/dev/nvidia0\n")
    found = from_gres_conf("n1")
    assert found is not None
    assert "gpus.conf cannot be read" in found.problem
    conf.with_name("gpus.conf").write_text("Name=gpu File=/dev/nvidia3\n")
    assert minors(from_gres_conf("n1")) == [3, 0]
    conf.with_name("gpus.conf").write_text("include gpus.conf\n")
    found = from_gres_conf("n1")
    assert found is not None
    assert "deep" in found.problem


@pytest.mark.parametrize(
    "text", ["Name=gpu File=/dev/nvidia[0\n", "Name gpu\n", "Name=gpu File=\n"]
)
def test_a_file_that_is_not_understood_leaves_the_order_unknown(conf: Path, text: str) -> None:
    """Nothing is guessed from the rest of it."""
    conf.write_text(text)
    found = from_gres_conf("n1")
    assert found is not None
    assert found.problem
    with pytest.raises(NotKnownError):
        found.named([0])


def test_without_gres_conf_a_number_is_taken_for_the_minor_number(conf: Path) -> None:
    """An agent in a container sees none; that it is assumed can be said."""
    assert from_gres_conf("n1") == ASSUMED
    assert ASSUMED.named([2, 0]) == (2, 0)


def test_a_file_without_this_node_leaves_the_order_unknown(conf: Path) -> None:
    """The node may have another name in Slurm than its host has."""
    conf.write_text("NodeName=n[2-4] Name=gpu File=/dev/nvidia0\n")
    found = from_gres_conf("n1")
    assert found is not None
    assert found.problem == "gres.conf has no GPU of a node n1"


def test_the_order_of_types_is_slurm_confs(conf: Path) -> None:
    """As a real Slurm 22.05 has it; without it, that of the file."""
    conf.write_text(
        "NodeName=n1 Name=gpu Type=a100 File=/dev/nvidia[1-3]\n"
        "NodeName=n1 Name=gpu Type=h200 File=/dev/nvidia0\n"
    )
    assert from_gres_conf("n1") is None
    assert minors(without_slurmd("n1", "gpu:h200:1(S:0),gpu:a100:3(S:0)", "")) == [0, 1, 2, 3]
    assert minors(without_slurmd("n1", "", "")) == [1, 2, 3, 0]
    assert minors(without_slurmd("n1", "gpu:4", "")) == [1, 2, 3, 0]
    assert without_slurmd("n1", "", "").kinds == 2


def test_one_h200_and_three_a100_are_counted_together(conf: Path) -> None:
    """The field case: jobs on 1, 2, 3 are booked on these."""
    conf.write_text((FILES / "gres-two-types.conf").read_text())
    devices = without_slurmd("n1", "", "")
    assert [devices.named([number]) for number in range(4)] == [(0,), (1,), (2,), (3,)]
    with pytest.raises(NotKnownError):
        devices.named([4])


def test_mig_by_several_files(conf: Path) -> None:
    """The field case: the record's number is not N of /dev/nvidiaN."""
    conf.write_text((FILES / "gres-mig.conf").read_text())
    assert from_gres_conf("n1") is None
    assert minors(without_slurmd("n1", "", "")) == [
        Instance(0, 2, 0),
        Instance(0, 3, 0),
        Instance(1, 2, 0),
        2,
    ]


def test_devices_that_slurm_finds_itself_are_known_from_slurmd_only(conf: Path) -> None:
    """Its order is its own: nothing is guessed."""
    for text in ("AutoDetect=nvml\n", "NodeName=n1 AutoDetect=nvml Name=gpu File=/dev/nvidia0\n"):
        conf.write_text(text)
        assert from_gres_conf("n1") is None
        problem = without_slurmd("n1", "gpu:h200:4", "slurmd is not here").problem
        assert problem == "Slurm finds its devices itself (AutoDetect), and slurmd is not here"


@pytest.mark.parametrize("version", ["22.05.8", "23.11.10", "25.11.7"])
def test_what_slurmd_prints_is_read(conf: Path, version: str) -> None:
    """Of three versions, with what they log besides, as slurmd -G printed it."""
    text = (FILES / f"slurmd-G-{version}.txt").read_text()
    records = [record for record in parse_slurmd(text) if record.name == "gpu"]
    assert [(record.type, *record.devices) for record in records] == [
        ("h200", ("/dev/nvidia0",)),
        ("a100", ("/dev/nvidia1",), ("/dev/nvidia2",), ("/dev/nvidia3",)),
    ]


def slurmd(conf: Path, *lines: str, code: int = 0) -> None:
    """Put a slurmd beside the configuration that prints lines for -G."""
    (conf.parent / "slurm.conf").touch()
    program = conf.parent / "slurmd"
    said = "".join(f"echo {shlex.quote(line)} >&2\n" for line in lines)
    program.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "-G -N n1" ] || exit 9\n{said}exit {code}\n')
    program.chmod(0o755)
    for folder in (conf.parent, *conf.parent.parents[:3]):
        folder.chmod(0o755)


def test_slurmd_knows_what_it_has_found_itself(conf: Path) -> None:
    """AutoDetect with MIG: an instance has several files, and Slurm's own order holds."""
    slurmd(
        conf,
        "slurmd: Gres Name=gpu Type=h200_1g.18gb Count=1 Index=22 ID=7696487 "
        "File=/dev/nvidia1,/dev/nvidia-caps/nvidia-cap156,/dev/nvidia-caps/nvidia-cap157 (null)",
        "slurmd: Gres Name=gpu Type=h200 Count=1 Index=0 ID=7696487 File=/dev/nvidia0 Links=-1,0",
        "slurmd: Gres Name=gpu Type=h200 Count=0 ID=7696487 (null)",
    )
    found, problem = from_slurmd("n1")
    assert problem == ""
    assert minors(found) == [Instance(1, 2, 0), 0]
    assert found is not None
    assert found.kinds == 2


@pytest.mark.parametrize(
    ("lines", "code"),
    [((), 0), (("slurmd: fatal: Unable to determine this slurmd's NodeName",), 1)],
)
def test_a_slurmd_that_says_nothing_is_said(conf: Path, lines: tuple[str, ...], code: int) -> None:
    """With its own last words."""
    slurmd(conf, *lines, code=code)
    found, problem = from_slurmd("n1")
    assert found is None
    assert problem.startswith("slurmd -G says")
    assert not lines or "NodeName" in problem


def test_a_slurmd_that_is_late_is_the_only_one_and_leaves_no_zombie(
    conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not killed; while it runs no other is started, and once it has ended one is."""
    late: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr("gpumon.workloads.slurm.slurmd._LATE", late)
    monkeypatch.setattr("gpumon.workloads.slurm.slurmd.SLURMD_SECONDS", 0.2)
    started, gate, over = (conf.with_name(name) for name in ("started", "gate", "over"))
    slurmd(conf)
    (conf.parent / "slurmd").write_text(
        f"#!/bin/sh\necho >>{started}\n[ -e {over} ] || read line <{gate}\n"
        "echo Gres Name=gpu Type=h200 Count=1 Index=0 ID=7696487 File=/dev/nvidia3\n"
    )
    started.touch()
    started.chmod(0o666)
    os.mkfifo(gate)
    assert from_slurmd("n1") == (None, "slurmd -G did not reply in 0 s")
    (first,) = late
    still = f"slurmd -G of earlier (process {first.pid}) has not ended yet"
    assert [from_slurmd("n1") for _ in range(3)] == [(None, still)] * 3
    gate.write_text("\n")
    over.touch()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie
    assert started.read_text() == "\n"
    monkeypatch.setattr("gpumon.workloads.slurm.slurmd.SLURMD_SECONDS", 10.0)
    assert minors(from_slurmd("n1")[0]) == [3]
    assert not psutil.pid_exists(first.pid)


def test_a_slurmd_that_contradicts_itself_leaves_the_order_unknown(conf: Path) -> None:
    """Three GPUs of two files."""
    slurmd(
        conf, "slurmd: Gres Name=gpu Type=h200 Count=3 Index=0 ID=1 File=/dev/nvidia[0-1] (null)"
    )
    found, _ = from_slurmd("n1")
    assert found is not None
    assert found.problem == "slurmd -G counts 3 GPUs of 2 files"


def test_a_device_of_another_name_is_known_by_its_own_number(tmp_path: Path) -> None:
    """N of /dev/nvidiaN is its minor number, whatever the file is called."""
    device = tmp_path / "gpu-a"
    try:
        os.mknod(device, 0o20666, os.makedev(devicefiles.NVIDIA_MAJOR, 3))
    except PermissionError:
        missing("the right to make device files")
    assert gpu_names([str(device)]) == (3,)
    other = tmp_path / "nvidia7"
    os.mknod(other, 0o20666, os.makedev(devicefiles.NVIDIA_MAJOR, 2))
    assert gpu_names([str(other)]) == (2,)
    control = tmp_path / "nvidiactl"
    os.mknod(control, 0o20666, os.makedev(devicefiles.NVIDIA_MAJOR, 255))
    assert gpu_names([str(device), str(control)]) == (3,)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (("/dev/nvidia0", "/dev/nvidia1"), (0, 1)),
        (("/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap21"), (Instance(0, 2),)),
        (
            ("/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap3", "/dev/nvidia-caps/nvidia-cap5"),
            (Instance(0, 0, 1),),
        ),
        (("/dev/fakegpu2", "/dev/null", "/dev/zero"), (2,)),
    ],
)
def test_several_files_of_a_device(files: tuple[str, ...], names: tuple[object, ...]) -> None:
    """Two GPUs that go together, an instance with all its parts, one part of one."""
    assert gpu_names(files) == names


@pytest.mark.parametrize(
    "files",
    [
        ("/dev/null",),
        ("/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap1"),
        ("/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap156"),
    ],
)
def test_files_that_are_no_gpu_or_of_two_are_not_known(files: tuple[str, ...]) -> None:
    """A right to configure MIG is no instance; cap 156 is of GPU 1."""
    with pytest.raises(NotKnownError):
        gpu_names(files)


def test_the_drivers_own_list_of_instances_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc/driver/nvidia-caps/mig-minors, should its scheme change."""
    table = tmp_path / "mig-minors"
    table.write_text("config 1\nmonitor 2\ngpu0/gi7/access 21\ngpu0/gi7/ci1/access 22\n")
    monkeypatch.setattr(devicefiles, "MIG_MINORS", table)
    files = ["/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap21", "/dev/nvidia-caps/nvidia-cap22"]
    assert gpu_names(files) == (Instance(0, 7, 1),)


def test_a_line_of_another_node_costs_nothing(tmp_path: Path) -> None:
    """Though it cannot be understood, if the words before its NodeName can."""
    found = parse_gres_conf("NodeName=n2 Name=gpu File=/dev/nvidia[0-\n", "n1", tmp_path)
    assert found.others
    assert not found.gpus
