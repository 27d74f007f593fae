"""``gpumon install`` on a machine with a real systemd, from nothing to a reboot and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.guide import GUIDE
from tests.support.machine import Machine, boot
from tests.support.servers import wait_for
from tests.support.wheel import build_wheel

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

UNIT_FILE = "/etc/systemd/system/gpumon-agent.service"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with this gpumon's wheel in /opt/gpumon."""
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    with boot(tmp_path_factory.mktemp("machine"), wheel) as machine:
        yield machine


@pytest.fixture
def bare(machine: Machine) -> Machine:
    """The machine without any service of gpumon's."""
    removed = machine.run("gpumon", "uninstall", "--purge", "--force")
    assert removed.returncode == 0, removed.stderr
    return machine


def installed(machine: Machine, *options: str) -> str:
    """Install a service with simulated GPUs, and return what was said."""
    done = machine.run("gpumon", "install", "--set", "source=sim:8xH100", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def shown(machine: Machine, *names: str) -> dict[str, str]:
    """Return properties of the unit."""
    done = machine.run("systemctl", "show", "gpumon-agent", "-p", ",".join(names))
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def status(machine: Machine) -> dict[str, Any]:
    """Return what its agent says; {} where nobody answers."""
    done = machine.run("gpumon", "status", "127.0.0.1:9842", "-o", "json")
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def traces(machine: Machine) -> set[str]:
    """Return everything outside of the program's own folder that has gpumon's name."""
    found = machine.run(
        "find", "/etc", "/var/lib", "/usr/lib/systemd", "/usr/lib/sysusers.d", "-name", "*gpumon*"
    )
    users = machine.run("getent", "passwd", "gpumon")
    return {*found.stdout.splitlines(), *users.stdout.splitlines()}


def test_from_a_program_to_a_service_that_survives_a_reboot(bare: Machine) -> None:
    """As the guide says; systemd has no complaint, and nobody had to start it again."""
    told = installed(bare)
    assert f"```\n# gpumon install --set source=sim:8xH100\n{told}```\n" in GUIDE.read_text("utf-8")
    properties = ("ActiveState", "UnitFileState", "User", "NRestarts")
    right = {"ActiveState": "active", "UnitFileState": "enabled", "User": "gpumon"}
    assert shown(bare, *properties) == right | {"NRestarts": "0"}
    assert len(status(bare)["gpus"]) == 8
    before = wait_for(lambda: _events(bare), 30, "the first events")
    bare.reboot()
    assert shown(bare, *properties) == right | {"NRestarts": "0"}
    wait_for(lambda: len(status(bare).get("gpus", ())) == 8, 30, "the agent's GPUs")
    # It remembers what was before the reboot, and that it was started again.
    after = wait_for(lambda: _events(bare)[len(before) :] and _events(bare), 30, "later events")
    assert after[: len(before)] == before
    log = bare.run("journalctl", "-u", "gpumon-agent", "-p", "warning", "-o", "cat")
    assert not log.stdout.replace("-- No entries --", "").strip()


def _events(machine: Machine) -> list[str]:
    """Return when what the agent remembers happened; nothing before it remembers anything."""
    done = machine.run("gpumon", "events", "--source", "sim:8xH100", "-o", "json")
    document = json.loads(done.stdout) if done.returncode == 0 else {"events": []}
    return [event["time"] for event in document["events"]]


def test_doctor_is_content_with_it(bare: Machine) -> None:
    """Agent, service, state and configuration are right."""
    installed(bare)
    done = bare.run("gpumon", "doctor", "-o", "json")
    levels = {item["item"]: item["level"] for item in json.loads(done.stdout)["findings"]}
    for item in ("configuration", "agent", "service", "state"):
        assert levels[item] == "pass", done.stdout


def test_a_second_time_it_is_not_even_restarted(bare: Machine) -> None:
    """And nothing is written."""
    installed(bare)
    before = shown(bare, "MainPID"), traces(bare)
    done = bare.run("gpumon", "install")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["left", "left", "the"]
    assert (shown(bare, "MainPID"), traces(bare)) == before


def test_another_configuration_is_taken_up(bare: Machine) -> None:
    """The agent is older than its file, whoever wrote that."""
    installed(bare)
    bare.run("sed", "-i", "s/8xH100/2xB200/", "/etc/gpumon/gpumon.toml")
    done = bare.run("gpumon", "install")
    assert "restarted gpumon-agent\n" in done.stdout
    assert len(status(bare)["gpus"]) == 2


def test_root_with_a_strict_umask_installs_for_others_too(bare: Machine) -> None:
    """As hardened machines have it."""
    script = "umask 077; gpumon install --set source=sim:8xH100"
    done = bare.run("sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(status(bare)["gpus"]) == 8


def test_the_same_command_twice_is_no_contradiction(bare: Machine) -> None:
    """As configuration management has it."""
    for _ in range(2):
        installed(bare, "--set", "interval=0.50", "--set", "web.expose-users=true")
    assert bare.run("grep", "-c", "^interval = 0.5$", "/etc/gpumon/gpumon.toml").stdout == "1\n"


def test_the_callers_variables_are_not_the_services(bare: Machine) -> None:
    """Nor may the service's own contradict what is chosen."""
    script = "export GPUMON_WEB_LISTEN_ADDRESS=:1 GPUMON_NONSENSE=1; gpumon install --set {}"
    done = bare.run("sh", "-c", script.format("source=sim:8xH100"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "is up at http://127.0.0.1:9842" in done.stdout
    bare.run("sh", "-c", "echo GPUMON_SOURCE=sim:4xH100 >/etc/gpumon/agent.env")
    assert "restarted gpumon-agent" in bare.run("gpumon", "install").stdout
    assert len(status(bare)["gpus"]) == 4
    done = bare.run("gpumon", "install", "--set", "source=sim:8xH100")
    assert (done.returncode, done.stdout) == (2, "")
    assert "/etc/gpumon/agent.env overrules it: take GPUMON_SOURCE out" in done.stderr


def test_nothing_is_removed_under_an_agent_that_does_not_stop(bare: Machine) -> None:
    """To systemd a time-out is a success; the agent still has the GPUs, and its unit."""
    installed(bare)
    folder = "/etc/systemd/system/gpumon-agent.service.d"
    settings = "[Service]\nTimeoutStopSec=1\nKillSignal=SIGWINCH\n"
    bare.run("sh", "-c", f"mkdir {folder}; echo '{settings}' >{folder}/slow.conf")
    bare.run("systemctl", "daemon-reload")
    process = shown(bare, "MainPID")["MainPID"]
    done = bare.run("gpumon", "uninstall", "--purge")
    assert (done.returncode, done.stdout) == (3, "")
    assert "gpumon-agent did not stop in time" in done.stderr
    assert UNIT_FILE in traces(bare)
    bare.run("kill", process)
    wait_for(lambda: not bare.run("pgrep", "-u", "gpumon").stdout, 20, "the agent's end")


def test_in_a_chroot_nothing_is_said_to_have_started(bare: Machine) -> None:
    """Where images are built systemctl takes a start for done, and does nothing."""
    script = """
        mount --make-rprivate / && mount -t tmpfs image /mnt && cd /mnt && mkdir upper work root
        mount -t overlay image -o lowerdir=/,upperdir=upper,workdir=work root
        for folder in proc run dev sys; do mount --rbind /$folder root/$folder; done
        chroot root gpumon install --set source=sim:8xH100 && ls root/etc/systemd/system/*.wants
    """
    done = bare.run("unshare", "--mount", "sh", "-ec", script)
    assert (done.returncode, done.stderr) == (0, "")
    last, *wanted = done.stdout.splitlines()[-2:]
    assert last == "left gpumon-agent for the next boot to start: systemd does not run here"
    assert wanted == ["gpumon-agent.service"]
    assert traces(bare) == set()


def test_a_configuration_that_the_service_cannot_read_is_said(bare: Machine) -> None:
    """Before the next restart would show it."""
    installed(bare)
    bare.run("chmod", "600", "/etc/gpumon/gpumon.toml")
    done = bare.run("gpumon", "install")
    assert (done.returncode, done.stdout) == (3, "")
    assert "user gpumon could not read /etc/gpumon/gpumon.toml: chgrp gpumon" in done.stderr
    bare.run("chmod", "700", "/etc/gpumon")
    done = bare.run("gpumon", "install", "--dry-run", user="nobody")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "gpumon: /etc/gpumon/gpumon.toml is not for this user: use sudo\n"
    bare.run("chmod", "755", "/etc/gpumon")
    bare.run("chgrp", "gpumon", "/etc/gpumon/gpumon.toml")
    bare.run("chmod", "640", "/etc/gpumon/gpumon.toml")
    assert bare.run("gpumon", "install").returncode == 0


def test_purge_leaves_what_is_the_sites(bare: Machine) -> None:
    """In the same folder, and of the same user."""
    installed(bare)
    bare.run("touch", "/etc/gpumon/site.toml")
    bare.run("touch", "/etc/systemd/system/gpumon-site.service")
    done = bare.run("gpumon", "uninstall", "--purge")
    assert done.returncode == 0
    assert "left /etc/gpumon: there is also site.toml\n" in done.stdout
    left = {path for path in traces(bare) if path.startswith("/")}
    assert left == {"/etc/gpumon", "/etc/systemd/system/gpumon-site.service"}
    assert bare.run("cat", "/etc/gpumon/site.toml").returncode == 0
    assert bare.run("getent", "passwd", "gpumon").returncode == 0
    bare.run("rm", "-r", *left)


def test_a_dry_run_changes_nothing_and_needs_no_root(bare: Machine) -> None:
    """It says the same in other words."""
    would = bare.run("gpumon", "install", "--dry-run", user="nobody")
    assert (would.returncode, traces(bare)) == (0, set())
    did = installed(bare).splitlines()
    assert [line.split(maxsplit=2)[2] for line in would.stdout.splitlines()] == [
        line.split(maxsplit=1)[1] for line in did[:-1]
    ]


def test_what_somebody_edited_is_his(bare: Machine) -> None:
    """Neither replaced nor removed unless by force, and then kept."""
    installed(bare)
    bare.run("sh", "-c", f"echo '# mine' >>{UNIT_FILE}")
    for command in ("install", "uninstall"):
        done = bare.run("gpumon", command)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"{UNIT_FILE} is not what gpumon install writes" in done.stderr
    done = bare.run("gpumon", "install", "--force")
    assert f"keeping the old as {UNIT_FILE}.old" in done.stdout
    assert bare.run("tail", "-n", "1", f"{UNIT_FILE}.old").stdout == "# mine\n"
    assert shown(bare, "ActiveState") == {"ActiveState": "active"}
    bare.run("rm", f"{UNIT_FILE}.old")


def test_an_address_that_is_taken_is_said(bare: Machine) -> None:
    """One line with where to look, and 3; with the mistake mended it goes on from there."""
    holder = "import socket, time; s = socket.create_server(('', 9842)); time.sleep(600)"
    bare.run("systemd-run", "--unit", "holder", sys_python(bare), "-c", holder)
    wait_for(lambda: "9842" in bare.run("ss", "-ltn").stdout, 20, "the holder")
    done = bare.run("gpumon", "install", "--set", "source=sim:8xH100")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(": see journalctl -u gpumon-agent -n 20\n")
    assert "9842" in bare.run("journalctl", "-u", "gpumon-agent", "-o", "cat").stdout
    bare.run("systemctl", "stop", "holder")
    again = bare.run("gpumon", "install")
    assert again.returncode == 0, again.stderr
    assert len(status(bare)["gpus"]) == 8


def sys_python(machine: Machine) -> str:
    """Return the machine's own Python."""
    return machine.run("readlink", "-f", "/opt/gpumon/bin/python3").stdout.strip()


def test_a_wrong_configuration_is_said_before_anything_is_done(bare: Machine) -> None:
    """Chosen or already there: the agent would not start with it."""
    for pair, word in {
        "teir=full": "did you mean tier?",
        "tier=most": "'most' is not one of",
        "tier": "write KEY=VALUE",
        "interval=nan": "is not a number of seconds",
        "source=simm:8xH100": "unknown source",
        "source=sim:8xH1000": "did you mean H100?",
        "web.telemetry-path=metrics": "it begins with /",
        "web.config.file=/nonexistent.yml": "no file /nonexistent.yml",
        "state-dir=/data": "the unit sets the state folder: systemctl edit gpumon-agent",
    }.items():
        done = bare.run("gpumon", "install", "--set", pair)
        assert (done.returncode, done.stdout, traces(bare)) == (2, "", set())
        assert word in done.stderr
    bare.run(
        "sh", "-c", "mkdir /etc/gpumon; echo '[agent]\ninterval = 99' >/etc/gpumon/gpumon.toml"
    )
    done = bare.run("gpumon", "install")
    assert (done.returncode, done.stdout) == (2, "")
    assert "99" in done.stderr
    bare.run("sed", "-i", "s/.*= 99/source = 'simm:8xH100'/", "/etc/gpumon/gpumon.toml")
    done = bare.run("gpumon", "install")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown source" in done.stderr


def test_removed_it_leaves_its_memory_and_purged_nothing(bare: Machine) -> None:
    """A new service goes on where the old one ended."""
    installed(bare)
    assert bare.run("gpumon", "uninstall").returncode == 0
    assert status(bare) == {}
    left = {path for path in traces(bare) if path.startswith("/")}
    assert left >= {"/etc/gpumon", "/etc/gpumon/gpumon.toml", "/var/lib/gpumon"}
    assert not any("systemd" in path or "sysusers" in path for path in left)
    bare.run("gpumon", "install")
    assert len(_events(bare)) >= 2
    assert bare.run("gpumon", "uninstall", "--purge").returncode == 0
    assert traces(bare) == set()
    assert bare.run("gpumon", "uninstall").stdout == "there is nothing to remove\n"
