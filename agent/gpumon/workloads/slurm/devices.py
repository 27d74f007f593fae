"""Which GPU a number of Slurm's means.

``IDX`` in a job's resources and ``SLURM_JOB_GPUS`` in its prolog are the same number: it counts
the gpu records of the node, over all their types, from 0. It is neither N of /dev/nvidiaN nor the
driver's index. The records stand in the order of slurm.conf's types, each with the files of
gres.conf, or with those that Slurm has found (AutoDetect). ``slurmd -G`` prints that order
(slurmd(8)); if one type of GPU has all its files in gres.conf, that file alone is enough.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gpumon.workloads.held import Name
from gpumon.workloads.knowngpus import Instance
from gpumon.workloads.slurm.devicefiles import gpu_names
from gpumon.workloads.slurm.gres import GPU, SHARED, NotKnownError, parse_gres
from gpumon.workloads.slurm.gresconf import GresConf, GresRecord, files_of, read_gres_conf
from gpumon.workloads.slurm.hostlist import HostlistError, expand
from gpumon.workloads.slurm.slurmcommand import environment

FOLDERS = (Path("/etc/slurm"), Path("/run/slurm/conf"), Path("/etc/slurm-llnl"))
"""Slurm's configuration: its default, what a node without one fetched, that of older Debians."""

SBIN = "/usr/sbin:/usr/local/sbin"

SLURMD_SECONDS = 10.0

_LATE: list[subprocess.Popen[bytes]] = []
"""The slurmd that did not reply in time, kept so that it leaves no zombie if it ends."""

_GRES = re.compile(r"\bGres Name=(\S+) Type=(\S+) Count=(\d{1,9})\b(?:.*?\bFile=(\S+))?")


@dataclasses.dataclass(frozen=True, slots=True)
class Devices:
    """What Slurm's numbers mean on a node.

    ``names`` are the GPUs, or instances, of each number; None if that is not known. Then
    ``problem`` says why; without a problem nothing says otherwise, and a number is taken for N of
    /dev/nvidiaN. ``kinds`` counts the names and types that a job may ask GPUs by: of several, a
    prolog is given the numbers of one only. ``source`` is what said so.
    """

    names: tuple[tuple[Name, ...], ...] | None = None
    kinds: int = 1
    source: str = ""
    problem: str = ""

    def named(self, numbers: Iterable[int]) -> tuple[Name, ...]:
        """Return the GPUs that numbers mean; NotKnownError if that is not known of all of them."""
        if self.problem:
            raise NotKnownError(self.problem)
        if self.names is None:
            return tuple(numbers)
        found: dict[Name, None] = {}
        for number in numbers:
            if number >= len(self.names):
                raise NotKnownError(f"{self.source} has no GPU {number}")
            found.update(dict.fromkeys(self.names[number]))
        return tuple(found)


ASSUMED = Devices()


def folder() -> Path | None:
    """Return the folder of Slurm's configuration on this machine; None if there is none."""
    named = os.environ.get("SLURM_CONF")
    found = [Path(named).parent] if named else FOLDERS
    return next((path for path in found if _has_configuration(path)), None)


def _has_configuration(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return any((path / name).exists() for name in ("slurm.conf", "gres.conf"))
    return False


def stamp() -> tuple[object, ...]:
    """Return what changes when the configuration does, in included files too."""
    where = folder()
    if where is None:
        return ()
    files = [file for name in ("slurm.conf", "gres.conf") for file in files_of(where / name)]
    return (where, *((file, _stamp_of(file)) for file in dict.fromkeys(files)))


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def from_file(node: str) -> Devices | None:
    """Return what gres.conf alone says for sure; None if Slurm has to be asked for its order."""
    try:
        conf = _conf(node)
        if conf is None:
            return ASSUMED
        if conf.detected or len({kind.lower() for kind in _types(conf)}) > 1 or conf.several_files:
            return None
        return _by_records(conf.gpus, len(conf.kinds), "gres.conf", others=conf.others, node=node)
    except NotKnownError as error:
        return Devices(problem=str(error))


def from_slurmd(node: str) -> tuple[Devices | None, str]:
    """Return what ``slurmd -G`` says, or None and why not.

    It may take seconds: call it in a thread.
    """
    try:
        said, problem = _slurmd_says(node)
        gpus = [record for record in said if record.name == GPU]
        found = _by_records(gpus, _kinds(said), "slurmd -G", others=False, node=node)
    except NotKnownError as error:
        return Devices(problem=str(error)), ""
    return (found, "") if said else (None, problem)


def from_order(node: str, configured: str, problem: str) -> Devices:
    """Return what gres.conf says without ``slurmd -G``; ``problem`` is why that says nothing.

    ``configured`` are the node's resources as the controller has them: its types in their order.
    Without them it is that of the file. Devices that Slurm finds itself are then not known.
    """
    try:
        conf = _conf(node) or GresConf()
        if conf.detected:
            return Devices(problem=f"Slurm finds its devices itself (AutoDetect), and {problem}")
        records = _in_order(conf.gpus, configured)
        return _by_records(records, len(conf.kinds), "gres.conf", others=conf.others, node=node)
    except NotKnownError as error:
        return Devices(problem=str(error))


def minors_of(numbers: Iterable[int]) -> list[int]:
    """Return N of /dev/nvidiaN of the GPUs that numbers of Slurm's mean on this machine.

    NotKnownError if that is not known; it may take seconds.
    """
    node = node_name()
    devices = from_file(node)
    if devices is None:
        devices, problem = from_slurmd(node)
        devices = devices or from_order(node, "", problem)
    named = devices.named(numbers)
    return [name.minor if isinstance(name, Instance) else int(name) for name in named]


def node_name() -> str:
    """Return what Slurm calls this machine: NodeName in slurm.conf may be another than the host's.

    slurmd sets SLURMD_NODENAME for what it starts; the agent's own environment may have it too.
    """
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname().partition(".")[0]


def _conf(node: str) -> GresConf | None:
    where = folder()
    return read_gres_conf(where / "gres.conf", node) if where else None


def _types(conf: GresConf) -> list[str]:
    return [record.type for record in conf.gpus]


def _kinds(records: Sequence[GresRecord]) -> int:
    return len({(r.name, r.type.lower()) for r in records if r.name in {GPU, *SHARED}})


def _by_records(
    records: Sequence[GresRecord], kinds: int, source: str, *, others: bool, node: str
) -> Devices:
    names = tuple(gpu_names(files) for record in records for files in record.devices)
    if not names:
        if others:
            raise NotKnownError(f"gres.conf has no GPU of a node {node}")
        return ASSUMED
    return Devices(names, max(1, kinds), source)


def _in_order(records: Sequence[GresRecord], configured: str) -> list[GresRecord]:
    """Return the devices as slurm.conf has them for the node: its types, of each its number."""
    wanted = [gres for gres in parse_gres(configured) if gres.name == GPU]
    if not wanted or not all(gres.type for gres in wanted):
        return list(records)
    found = []
    for gres in wanted:
        of_type = (r.devices for r in records if r.type.lower() == gres.type.lower())
        devices = tuple(itertools.chain.from_iterable(of_type))[: gres.count]
        found.append(GresRecord(GPU, gres.type, devices))
    return found


def _slurmd_says(node: str) -> tuple[list[GresRecord], str]:
    """Return the records of ``slurmd -G``, and why there are none."""
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
