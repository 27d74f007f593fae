"""Which GPU an index of Slurm's generic resources (GRES) means.

``IDX`` in a job's resources and ``SLURM_JOB_GPUS`` in its prolog are the same number: it counts
the gpu records of the node, over all their types, from 0. It is neither N of /dev/nvidiaN nor the
driver's index. The records stand in the order of slurm.conf's types, each with the files of
gres.conf, or with those that Slurm has found (AutoDetect). ``slurmd -G`` prints that order
(slurmd(8)); if one type of GPU has all its files in gres.conf, that file alone is enough.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

from gpumon.workloads.held import Name
from gpumon.workloads.knowngpus import Instance
from gpumon.workloads.slurm.devicefiles import gpu_names
from gpumon.workloads.slurm.gres import GPU, SHARED, NotKnownError, parse_gres
from gpumon.workloads.slurm.gresconf import GresConf, GresRecord, read_gres_conf
from gpumon.workloads.slurm.slurmconf import folder, node_name
from gpumon.workloads.slurm.slurmd import gres_of


@dataclasses.dataclass(frozen=True, slots=True)
class GresIndex:
    """Which GPU each GRES index means on a node.

    ``names`` are the GPUs, or instances, of each index; None if that is not known. Then
    ``problem`` says why; without a problem nothing says otherwise, and an index is taken for N of
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


ASSUMED = GresIndex()


def from_gres_conf(node: str) -> GresIndex | None:
    """Return what gres.conf alone says for sure; None if Slurm has to be asked for its order."""
    try:
        conf = _conf(node)
        if conf is None:
            return ASSUMED
        if conf.detected or len({kind.lower() for kind in _types(conf)}) > 1 or conf.several_files:
            return None
        return _by_records(conf.gpus, len(conf.kinds), "gres.conf", others=conf.others, node=node)
    except NotKnownError as error:
        return GresIndex(problem=str(error))


def from_slurmd(node: str) -> tuple[GresIndex | None, str]:
    """Return what ``slurmd -G`` says, or None and why not.

    It may take seconds: call it in a thread.
    """
    try:
        said, problem = gres_of(node)
        gpus = [record for record in said if record.name == GPU]
        found = _by_records(gpus, _kinds(said), "slurmd -G", others=False, node=node)
    except NotKnownError as error:
        return GresIndex(problem=str(error)), ""
    return (found, "") if said else (None, problem)


def without_slurmd(node: str, configured: str, problem: str) -> GresIndex:
    """Return what gres.conf says without ``slurmd -G``; ``problem`` is why that says nothing.

    ``configured`` are the node's resources as the controller has them: its types in their order.
    Without them it is that of the file. Devices that Slurm finds itself are then not known.
    """
    try:
        conf = _conf(node) or GresConf()
        if conf.detected:
            return GresIndex(problem=f"Slurm finds its devices itself (AutoDetect), and {problem}")
        records = _in_order(conf.gpus, configured)
        return _by_records(records, len(conf.kinds), "gres.conf", others=conf.others, node=node)
    except NotKnownError as error:
        return GresIndex(problem=str(error))


def minors_of(numbers: Iterable[int]) -> list[int]:
    """Return N of /dev/nvidiaN of the GPUs that numbers of Slurm's mean on this machine.

    NotKnownError if that is not known; it may take seconds.
    """
    node = node_name()
    devices = from_gres_conf(node)
    if devices is None:
        devices, problem = from_slurmd(node)
        devices = devices or without_slurmd(node, "", problem)
    named = devices.named(numbers)
    return [name.minor if isinstance(name, Instance) else int(name) for name in named]


def _conf(node: str) -> GresConf | None:
    where = folder()
    return read_gres_conf(where / "gres.conf", node) if where else None


def _types(conf: GresConf) -> list[str]:
    return [record.type for record in conf.gpus]


def _kinds(records: Sequence[GresRecord]) -> int:
    return len({(r.name, r.type.lower()) for r in records if r.name in {GPU, *SHARED}})


def _by_records(
    records: Sequence[GresRecord], kinds: int, source: str, *, others: bool, node: str
) -> GresIndex:
    names = tuple(gpu_names(files) for record in records for files in record.devices)
    if not names:
        if others:
            raise NotKnownError(f"gres.conf has no GPU of a node {node}")
        return ASSUMED
    return GresIndex(names, max(1, kinds), source)


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
