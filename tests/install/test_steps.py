"""The steps, on a machine below a folder."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpumon.config import DEFAULT_FILE
from gpumon.errors import UnavailableError
from gpumon.install import machine, plan
from gpumon.install.files import DROP_INS, UNIT_FILE, USERS_FILE
from gpumon.install.machine import Executable, Machine, look, unseen
from gpumon.install.steps import Remove, Run, Stop, Write


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of the system that only note that they were called, and where they do."""
    folder, log = tmp_path / "bin", tmp_path / "called"
    folder.mkdir()
    for name in ("systemctl", "systemd-sysusers", "userdel"):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return log


def test_a_machine_is_installed_and_a_second_look_finds_it_so(called: Path, tmp_path: Path) -> None:
    """What was planned is what there is afterwards; removed, it is as it was before."""
    root = tmp_path / "root"
    (root / "run/systemd/system").mkdir(parents=True)
    before = look(root)
    for step in plan.install(_seen(before), "[agent]\n", {}, None):
        step.carry_out(root)
    after = look(root)
    assert set(after.files) == {UNIT_FILE, USERS_FILE}
    assert (root / "etc/gpumon/gpumon.toml").read_text() == "[agent]\n"
    assert (root / str(UNIT_FILE)[1:]).stat().st_mode & 0o777 == 0o644
    assert not any(isinstance(step, Write) for step in plan.install(_seen(after), "", {}, {}))
    looks = ("systemctl is-", "systemctl show")
    lines = called.read_text().splitlines()
    assert [line for line in lines if not line.startswith(looks)] == [
        "systemd-sysusers /etc/sysusers.d/gpumon.conf",
        "systemctl daemon-reload",
        "systemctl enable gpumon-agent",
        "systemctl restart gpumon-agent",
    ]
    for step in plan.uninstall(after, purge=True):
        step.carry_out(root)
    assert look(root).files == before.files == {}
    assert look(root).left == ()


def _seen(there: Machine) -> Machine:
    """Return a machine whose gpumon is not in the home folder that tests may be run in."""
    return dataclasses.replace(there, program=Executable(("/opt/gpumon/bin/gpumon",)))


@pytest.mark.usefixtures("called")
def test_a_masked_unit_and_a_packages_are_seen(tmp_path: Path) -> None:
    """Both are somebody's decision."""
    unit = tmp_path / str(UNIT_FILE)[1:]
    unit.parent.mkdir(parents=True)
    unit.symlink_to("/dev/null")
    packaged = tmp_path / "usr/lib/systemd/system/gpumon-agent.service"
    packaged.parent.mkdir(parents=True)
    packaged.touch()
    there = look(tmp_path)
    assert there.masked
    assert there.elsewhere == Path("/usr/lib/systemd/system/gpumon-agent.service")
    assert there.unit is None


def test_an_edited_file_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    """Whole, whatever happens meanwhile."""
    file = tmp_path / str(UNIT_FILE)[1:]
    file.parent.mkdir(parents=True)
    file.write_text("mine\n")
    Write(UNIT_FILE, "ours\n", keep_old=True).carry_out(tmp_path)
    assert file.read_text() == "ours\n"
    assert file.with_name("gpumon-agent.service.old").read_text() == "mine\n"
    assert len(list(file.parent.iterdir())) == 2


def test_a_folder_that_is_made_can_be_entered_whatever_roots_umask_is(tmp_path: Path) -> None:
    """The agent runs as another user."""
    before = os.umask(0o077)
    try:
        Write(DEFAULT_FILE, "").carry_out(tmp_path)
    finally:
        os.umask(before)
    file = tmp_path / str(DEFAULT_FILE)[1:]
    assert [f"{p.stat().st_mode & 0o777:o}" for p in (file, file.parent)] == ["644", "755"]


def test_a_folder_goes_with_what_is_in_it_and_a_link_alone(tmp_path: Path) -> None:
    """What a link leads to is somebody else's."""
    folder, other = tmp_path / str(DROP_INS)[1:], tmp_path / "other"
    folder.mkdir(parents=True)
    (folder / "a.conf").touch()
    other.mkdir()
    Remove(DROP_INS).carry_out(tmp_path)
    assert not folder.exists()
    etc = tmp_path / str(DEFAULT_FILE.parent)[1:]
    etc.symlink_to(other)
    Remove(DEFAULT_FILE.parent).carry_out(tmp_path)
    assert not etc.is_symlink()
    assert other.exists()


def test_a_command_that_fails_says_what_it_said(tmp_path: Path) -> None:
    """And the step's own next step."""
    failing = Run(("sh", "-c", "echo no such unit >&2; exit 5"), ("start", "started"), "it", "look")
    with pytest.raises(UnavailableError) as caught:
        failing.carry_out(tmp_path)
    assert caught.value.problem.endswith("exited with 5 (no such unit)")
    assert caught.value.next_step == "look"
    with pytest.raises(UnavailableError, match="/nonexistent: No such file"):
        Run(("/nonexistent",), ("start", "started"), "it").carry_out(tmp_path)


def test_what_only_its_owner_can_open_the_service_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is not a home folder but as closed; links count with what they lead to."""
    monkeypatch.setattr(machine, "HIDDEN", (Path("/home"),))
    assert unseen([Path("/usr/bin/env"), Path("/usr")]) == ""
    home = "/home/ops/gpumon is below /home, which it does not see"
    assert unseen([Path("/home/ops/gpumon")]) == home
    folder, file = tmp_path / "opt", tmp_path / "opt" / "gpumon"
    folder.mkdir()
    file.touch(0o644)
    for each in (*tmp_path.parents, tmp_path, folder):
        monkeypatch.setattr(machine, "_allows", _allowing(each))
        assert unseen([file]) == f"{each} is closed to others"


def _allowing(but: Path) -> Callable[[Path, int], bool]:
    """Return a look at rights by which one folder cannot be entered."""
    return lambda path, mode: path != but or not mode


def test_a_folder_that_may_be_entered_needs_no_list(tmp_path: Path) -> None:
    """As many have /opt."""
    folder = tmp_path / "opt"
    folder.mkdir(0o711)
    assert machine._allows(folder, 0o001)
    assert not machine._allows(folder, 0o005)


def test_a_pipe_that_is_closed_ends_no_installation(called: Path, tmp_path: Path) -> None:
    """All of it is done; what is printed does not decide that."""
    script = (
        "import sys; from gpumon.cli.steps import carry_out\n"
        "from gpumon.install.steps import Run\n"
        "carry_out([Run(('systemctl', str(n)), ('start', 'started'), 'it') for n in range(4)],"
        " is_root=True, dry_run=False)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
    assert called.read_text().count("systemctl") == 4


def test_a_service_that_does_not_stop_is_no_success(tmp_path: Path, called: Path) -> None:
    """It ends with 0 after a time-out, too: nothing may be removed under the agent then."""
    program = tmp_path / "bin" / "systemctl"
    program.write_text("#!/bin/sh\necho MainPID=0\necho Result=timeout\n")
    with pytest.raises(UnavailableError, match="did not stop"):
        Stop("gpumon-agent", "look").carry_out(tmp_path)
    program.write_text("#!/bin/sh\necho MainPID=4711\necho Result=success\n")
    with pytest.raises(UnavailableError, match="did not stop"):
        Stop("gpumon-agent", "look").carry_out(tmp_path)
    program.write_text("#!/bin/sh\necho MainPID=0\necho Result=success\n")
    Stop("gpumon-agent", "look").carry_out(tmp_path)
    assert not called.exists()


def test_what_cannot_be_written_leaves_all_as_it_was(tmp_path: Path) -> None:
    """Also the edited file, and no litter."""
    file = tmp_path / str(UNIT_FILE)[1:]
    file.parent.mkdir(parents=True)
    file.write_text("mine\n")
    with pytest.raises(UnicodeEncodeError):
        Write(UNIT_FILE, "\udce4", keep_old=True).carry_out(tmp_path)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
