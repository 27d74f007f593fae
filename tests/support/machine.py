"""A machine of its own that boots a real systemd: this one's files, and none of its changes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from gpumon.install.machine import unseen
from tests.support.servers import missing, require, wait_for

GPUMON = "/opt/gpumon/bin/gpumon"

_BOOT = """\
set -eu
mount -t tmpfs -o mode=755 machine "$1" || exit 77
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay machine -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root" || exit 77
cd "$1/root"
# The services of the machine that this is a copy of stay down.
rm -rf etc/systemd/system/*.wants etc/rc?.d etc/gpumon var/lib/gpumon opt/gpumon
chroot . "$3" -m venv --without-pip /opt/gpumon
chroot . "$4" -m pip --quiet --disable-pip-version-check --python /opt/gpumon/bin/python3 \\
    install "$2"
code=133
while [ "$code" = 133 ]; do # it asks to be started again: a reboot
    code=0
    systemd-nspawn --quiet --boot --directory="$1/root" --register=no --keep-unit \\
        --link-journal=no --private-network --console=pipe || code=$?
done
"""
"""All mounts are in a namespace of their own, and go with its last process."""

_NOT_ALLOWED = 77
"""How it ends where nothing may be mounted."""


class Machine:
    """A booted machine."""

    def __init__(self, boss: psutil.Process) -> None:
        """Take the process that holds it."""
        self._boss = boss

    @property
    def init(self) -> int:
        """The process id of its systemd, 0 while there is none."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in self._boss.children(recursive=True):
                if child.name() == "systemd" and child.parent() == self._nspawn():
                    return child.pid
        return 0

    def _nspawn(self) -> psutil.Process | None:
        found = (each for each in self._boss.children() if each.name() == "systemd-nspawn")
        return next(found, None)

    def switch_off(self) -> None:
        """End it in order, whether or not it is up."""
        nspawn = self._nspawn()
        (nspawn or self._boss).terminate()

    def kill(self) -> None:
        """End it, and whatever runs on it."""
        for process in [*self._boss.children(recursive=True), self._boss]:
            process.kill()

    def run(self, *argv: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a command on it, and return how it ended."""
        enter = ("nsenter", "--target", str(self.init), "--all", "--root")
        become = (
            ()
            if user == "root"
            else ("setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups")
        )
        path = "/opt/gpumon/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return subprocess.run(
            (*enter, "env", "-i", "-C", "/", f"PATH={path}", "LC_ALL=C.UTF-8", *become, *argv),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def wait_until_up(self) -> None:
        """Wait until everything is started that starts with it."""
        wait_for(
            lambda: (
                self.init
                and self.run("systemctl", "is-system-running", "--wait").stdout.strip()
                in {"running", "degraded"}
            ),
            60,
            "the machine",
        )

    def reboot(self) -> None:
        """Boot it again, and wait until it is up."""
        before = self.init
        self.run("systemctl", "reboot")
        wait_for(lambda: self.init not in {0, before}, 60, "the reboot")
        self.wait_until_up()


@contextlib.contextmanager
def boot(folder: Path, wheel: Path) -> Iterator[Machine]:
    """Boot a machine with gpumon from a wheel in /opt/gpumon, and switch it off in the end."""
    for program in ("systemd-nspawn", "unshare", "nsenter", "chroot"):
        require(program)
    if os.geteuid() != 0:
        missing("the right to boot a machine (root)")
    python = _python_for_all()
    log = folder / "machine.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ("unshare", "--mount", "sh", "-c", _BOOT, "boot", str(folder), str(wheel),
             python, sys.executable),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    machine = Machine(psutil.Process(process.pid))
    try:
        wait_for(lambda: process.poll() is not None or machine.init, 180, "the machine")
        if process.poll() == _NOT_ALLOWED:
            missing(f"the right to mount ({log.read_text().strip()})")
        assert process.poll() is None, log.read_text()
        machine.wait_until_up()
        yield machine
    finally:
        machine.switch_off()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            machine.kill()
            process.wait(10)


def _python_for_all() -> str:
    """Return a Python that is not in somebody's home, where a service could not see it."""
    for python in (Path("/usr/bin/python3"), Path(sys.executable).resolve()):
        if python.exists() and not unseen([python]):
            return str(python)
    return str(missing("a Python outside of home folders"))
