"""``slurmd -G``: the generic resources that Slurm itself finds on a node (slurmd(8))."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpumon.workloads.slurm.gres import GPU, NotKnownError
from gpumon.workloads.slurm.gresconf import GresRecord
from gpumon.workloads.slurm.hostlist import HostlistError, expand
from gpumon.workloads.slurm.slurmcommand import environment
from gpumon.workloads.slurm.slurmconf import folder

SBIN = "/usr/sbin:/usr/local/sbin"

SLURMD_SECONDS = 10.0

_LATE: list[subprocess.Popen[bytes]] = []
"""The slurmd that did not reply in time, kept so that it leaves no zombie if it ends."""

_GRES = re.compile(r"\bGres Name=(\S+) Type=(\S+) Count=(\d{1,9})\b(?:.*?\bFile=(\S+))?")


def gres_of(node: str) -> tuple[list[GresRecord], str]:
    """Return the records of ``slurmd -G``, and why there are none.

    NotKnownError if they contradict each other. It may take seconds: call it in a thread.
    """
    program = shutil.which("slurmd") or shutil.which("slurmd", path=SBIN)
    where = folder()
    if program is None or where is None:
        return [], "slurmd is not here, so slurmd -G cannot be asked"
    text, problem = _printed((program, "-G", "-N", node), where / "slurm.conf")
    if problem:
        return [], problem
    records = parse_slurmd(text)
    return records, "" if records else _complaint(text)


def _printed(command: Sequence[str], conf: Path) -> tuple[str, str]:
    """Return what a command prints, and why it failed.

    With AutoDetect slurmd calls the driver, and a process that is killed in a call can freeze its
    GPU: one that is late is left alone, and none is started beside it.
    """
    _LATE[:] = [process for process in _LATE if process.poll() is None]
    if _LATE:
        return "", f"slurmd -G of earlier (process {_LATE[0].pid}) has not ended yet"
    with tempfile.TemporaryFile() as out:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**environment(), "SLURM_CONF": str(conf)},
                start_new_session=True,
                **_nobody(),
            )
            process.wait(SLURMD_SECONDS)
        except OSError as error:
            return "", f"slurmd -G cannot be run ({error.strerror})"
        except subprocess.TimeoutExpired:
            _LATE.append(process)
            return "", f"slurmd -G did not reply in {SLURMD_SECONDS:.0f} s"
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    return text, _complaint(text) if process.returncode else ""


def _nobody() -> dict[str, Any]:
    """Return who slurmd runs as: as root it would also write its log, and change its cgroup."""
    if os.geteuid():
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return {}
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _complaint(text: str) -> str:
    lines = text.strip().splitlines()
    return f"slurmd -G says: {lines[-1][:200]}" if lines else "slurmd -G says nothing"


def parse_slurmd(text: str) -> list[GresRecord]:
    """Return the records that ``slurmd -G`` prints; NotKnownError if one contradicts itself."""
    records = []
    for name, kind, count, files in _GRES.findall(text):
        if not int(count) or not files:
            continue
        try:
            expanded = expand(files)
        except HostlistError as error:
            raise NotKnownError(f"slurmd -G: {error}") from None
        if name == GPU and int(count) not in (1, len(expanded)):
            raise NotKnownError(f"slurmd -G counts {count} GPUs of {len(expanded)} files")
        # Of one device several files are those of MultipleFiles.
        one = int(count) == 1
        devices = (tuple(expanded),) if one else tuple((file,) for file in expanded)
        records.append(GresRecord(name, "" if kind == "(null)" else kind, devices))
    return records
