"""A Slurm of one node with four GPUs that are not there, in namespaces of its own.

Nothing outside is touched: folders under /etc and /run are covered inside its mount namespace.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.servers import ROOT, require

SCRIPTS = ROOT / "deploy" / "slurm"

SETUP = r"""
set -e
hostname n1
mount --make-rprivate /
mount -t proc proc /proc
ip link set lo up
ip link add slurm0 type veth peer name slurm1
ip addr add 10.99.0.1/24 dev slurm0
ip link set slurm0 up; ip link set slurm1 up
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup || true
mkdir -p /etc/munge /run/munge
for folder in /etc/munge /run/munge /etc/slurm; do mount -t tmpfs -o mode=755 tmpfs $folder; done
for n in 0 1 2 3; do mknod -m 666 "$WORK/fakegpu$n" c 1 3; done
for n in 0 1 2 3 4 5; do
    # Numbers of the driver, without a driver: a job that may open one learns that nothing is there.
    mknod -m 666 "/etc/slurm/nvidia$n" c 195 "$n"
done
for n in 21 22 156 157; do mknod -m 666 "/etc/slurm/nvidia-cap$n" c 235 "$n"; done
head -c 1024 /dev/urandom > /etc/munge/munge.key
chmod 400 /etc/munge/munge.key; chown -R munge: /etc/munge /run/munge
setpriv --reuid=munge --regid=munge --clear-groups munged --foreground \
    --pid-file=/run/munge/munged.pid --seed-file=/run/munge/seed --log-file=/run/munge/log \
    >/run/munge/said 2>&1 &
cat > /etc/slurm/slurm.conf <<END
ClusterName=test
SlurmctldHost=n1(10.99.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=$TASK_PLUGIN
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
GresTypes=$GRES_TYPES
KillWait=1
Prolog=$WORK/prolog
Epilog=$WORK/epilog
PrologFlags=Alloc
$EXTRA
StateSaveLocation=$WORK/state
SlurmdSpoolDir=$WORK/spool
SlurmctldPidFile=$WORK/slurmctld.pid
SlurmdPidFile=$WORK/slurmd.pid
SlurmctldLogFile=$WORK/slurmctld.log
SlurmdLogFile=$WORK/slurmd.log
NodeName=n1 NodeAddr=10.99.0.1 CPUs=2 RealMemory=1000 Gres=$NODE_GRES State=UNKNOWN
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
END
cp "$NODE_CHECK" /etc/slurm/gpumon-node-check.sh
ln -s "$NODE_CHECK_SETTINGS" /etc/slurm/gpumon-node-check.conf
# The devices stand the other way round than the driver counts them.
printf '%s\n' "$GRES_CONF" > /etc/slurm/gres.conf
printf '%s\n' "$CGROUP_CONF" > /etc/slurm/cgroup.conf
mkdir -p "$WORK/state" "$WORK/spool"
start() {
    slurmctld
    sleep 2
    slurmd
    idle
}
idle() {
    for _ in $(seq 100); do
        sinfo -h -o %t 2>/dev/null | grep -q idle && break
        sleep 0.2
    done
    sinfo -h -o %t
}
# begin NODE_GRES: with other devices, as gres.conf says by now, and without any job.
begin() {
    scancel --user=root
    idle >/dev/null
    scontrol shutdown
    while pidof slurmctld slurmd >/dev/null; do sleep 0.1; done
    sed -i "s/ Gres=[^ ]* / Gres=$1 /" /etc/slurm/slurm.conf
    rm -rf "$WORK/state"/* "$WORK/spool"/*
    start
}
start
set +e
echo READY
while read -r line; do
    eval "$line" 2>&1
    echo "DONE $?"
done
"""


class Slurm:
    """A running Slurm; its commands are run inside its namespaces."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Talk to the shell inside."""
        self._process = process

    def run(self, command: str) -> str:
        """Return what a command prints; fails where it does."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        text = self.until("DONE")
        assert self._code == "0", f"{command}: {text}"
        return text

    def until(self, word: str) -> str:
        """Return the lines before the one that begins with a word."""
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith(word):
                self._code = line.removeprefix(word).strip()
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"Slurm ended: {''.join(lines)[-3000:]}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Devices:
    """The GPUs that a node has, in slurm.conf and in gres.conf.

    ``/etc/slurm/nvidia0`` to ``5`` are devices of the driver's numbers, of which there is no
    driver. ``constrained``: Slurm lets a job open its own ones only, where this machine can.
    """

    node: str = "gpu:h200:4"
    conf: str = ""
    types: str = "gpu"
    constrained: bool = False


def can_constrain() -> bool:
    """Return whether this machine has what task/cgroup of this Slurm needs: cgroup v1's devices."""
    return Path("/sys/fs/cgroup/devices").is_dir()


@contextlib.contextmanager
def run_slurm(
    folder: Path,
    jobs_dir: Path,
    *,
    settings: Path | None = None,
    extra: str = "",
    devices: Devices = Devices(),
) -> Iterator[Slurm]:
    """Run Slurm with our hooks, which write to ``jobs_dir``.

    With ``settings``, those of ``gpumon-node-check.sh``, the hooks check the GPUs too. ``extra``
    are further lines of slurm.conf.
    """
    require("slurmctld")
    require("munged")
    work = folder / "slurm"
    work.mkdir()
    for hook in ("prolog", "epilog"):
        script = SCRIPTS / f"{hook}.d-gpumon.sh"
        checks = SCRIPTS / f"{hook}.d-gpumon-check.sh"
        # Slurm runs them in the order of their names, and ends with the first that fails.
        first = f"sh {shlex.quote(str(checks))} || exit 1\n" if settings is not None else ""
        (work / hook).write_text(
            f"#!/bin/sh\nGPUMON_JOBS_DIR={shlex.quote(str(jobs_dir))}\n"
            f"export GPUMON_JOBS_DIR\n{first}exec sh {shlex.quote(str(script))}\n"
        )
        (work / hook).chmod(0o755)
    process = subprocess.Popen(
        [
            "unshare",
            "--mount",
            "--uts",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "bash",
            "-c",
            SETUP,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "WORK": str(work),
            "EXTRA": extra,
            "NODE_GRES": devices.node,
            "GRES_TYPES": devices.types,
            "GRES_CONF": devices.conf or f"NodeName=n1 Name=gpu Type=h200 File={work}/fakegpu[0-3]",
            "TASK_PLUGIN": "task/cgroup" if devices.constrained else "task/none",
            "CGROUP_CONF": "CgroupAutomount=no"
            + ("\nCgroupPlugin=cgroup/v1\nConstrainDevices=yes" if devices.constrained else ""),
            "NODE_CHECK": str(SCRIPTS / "gpumon-node-check.sh"),
            "NODE_CHECK_SETTINGS": str(settings),
        },
    )
    slurm = Slurm(process)
    try:
        slurm.until("READY")
        yield slurm
    finally:
        process.kill()
        process.wait(timeout=10)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
