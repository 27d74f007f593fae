"""Everything known of a GPU, line by line, with its metric's name and where it is read from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping

from gpumon.documents.snapshot import SCHEMA, Document
from gpumon.model import GpuReading, HostReading, Metric, NodeReading, Snapshot, group_of
from gpumon.times import format_time
from gpumon.views.catalogue import sources_of

_ROOT = "root, as the driver sees it (CAP_SYS_ADMIN)"
_NODE = (("node", NodeReading, "power"), ("host", HostReading, "host"))


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """A sample of a metric of something: its labels, its number, and where that is read from."""

    metric: Metric
    labels: Mapping[str, str]
    number: float
    origin: str

    @property
    def name(self) -> str:
        """The metric with its labels, as Prometheus writes it, without quotes."""
        labels = ",".join(f"{name}={value}" for name, value in self.labels.items())
        return f"{self.metric.name}{{{labels}}}" if labels else self.metric.name


def known(metrics: Iterable[Metric], owner: object, scope: str = "") -> Iterator[Known]:
    """Yield what is known of an owner of metrics; of states, those that hold."""
    for metric in metrics:
        origin = ", ".join(sources_of(metric)[:1]) or "gpumon"
        if scope == "module" and metric.field == "power_watts":
            origin += " (the whole module's)"
        for values, number in metric.samples(owner):
            if metric.states and not number:
                continue
            pairs = zip(metric.labels, values, strict=True)
            yield Known(metric, {n: v for n, v in pairs if v}, number, origin)


def render(snapshot: Snapshot, *, node: bool) -> str:
    """Return what is known of a snapshot's GPUs, with the node's own where asked for, as text."""
    blocks = [_node(snapshot)] if node else []
    blocks += ["\n".join(_gpu(reading)) for reading in snapshot.gpus]
    blocks.append("\n".join(_denied(snapshot)))
    return "\n\n".join(block for block in blocks if block) + "\n"


def to_json(snapshot: Snapshot) -> str:
    """Return the same for programs: each sample with its unit, meaning and origin."""
    whole = {
        "schema": SCHEMA,
        "time": format_time(snapshot.time),
        "node": snapshot.node,
        "source": snapshot.source.source,
        "simulated": snapshot.source.simulated,
        "known": [
            *(
                _document(each)
                for _, group, field in _NODE
                for each in known(group_of(group).metrics, getattr(snapshot, field))
            )
        ],
        "gpus": [_gpu_document(reading) for reading in snapshot.gpus],
        "denied": [dataclasses.asdict(denied) for denied in snapshot.denied],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _gpu_document(reading: GpuReading) -> Document:
    metrics = group_of(GpuReading).metrics
    return {
        "gpu": reading.identity.index,
        "uuid": reading.identity.uuid,
        "name": reading.identity.name,
        "state": reading.state.value,
        "reason": reading.reason,
        "known": [
            *map(_document, known(metrics, reading, reading.power_scope)),
            *(
                {"mig_uuid": instance.identity.mig_uuid, **_document(each)}
                for instance in reading.mig
                for each in known(group_of(type(instance)).metrics, instance)
            ),
        ],
        "not_answered": _absent(reading),
        "denied": [_name(field) for field in reading.denied],
    }


def _document(each: Known) -> Document:
    return {
        "metric": each.metric.name,
        "labels": dict(each.labels),
        "value": each.number,
        "meaning": each.metric.help,
        "origin": each.origin,
    }


def _node(snapshot: Snapshot) -> str:
    lines = [f"node {snapshot.node}", f"  source {snapshot.source.source}"]
    for _, group, field in _NODE:
        lines += _lines(group_of(group).metrics, getattr(snapshot, field))
    return "\n".join(lines)


def _gpu(reading: GpuReading) -> Iterator[str]:
    identity = reading.identity
    yield f"gpu {identity.index}  {identity.uuid}  {identity.name}"
    if reading.reason:
        yield f"  {reading.state.value}: {reading.reason}"
    metrics = group_of(GpuReading).metrics
    yield from _lines(metrics, reading, reading.power_scope)
    for instance in reading.mig:
        yield f"  {instance.identity.mig_uuid}"
        yield from _lines(group_of(type(instance)).metrics, instance, indent="    ")
    for process in reading.held_by:
        who = " ".join(word for word in (process.user, process.name) if word)
        memory = "" if process.memory_bytes is None else f"  {process.memory_bytes} bytes"
        yield f"  process {process.pid}  {who}{memory}"
    absent = _absent(reading)
    if absent:
        yield "  not answered by this GPU, driver or mode:"
        yield from (f"    {name}" for name in absent)


def _absent(reading: GpuReading) -> list[str]:
    """Return the metrics that a GPU which answers has no value for, though it was asked."""
    if not reading.up:
        return []
    names = [
        metric.name
        for metric in group_of(GpuReading).metrics
        if metric.nvml and getattr(reading, metric.field) is None
    ]
    denied = {_name(field) for field in reading.denied}
    return [name for name in names if name not in denied]


def _lines(
    metrics: Iterable[Metric], owner: object, scope: str = "", indent: str = "  "
) -> Iterator[str]:
    for each in known(metrics, owner, scope):
        yield f"{indent}{each.name:<62} {each.number:<20} {each.origin}"


def _denied(snapshot: Snapshot) -> Iterator[str]:
    fields = dict.fromkeys(field for gpu in snapshot.gpus for field in gpu.denied)
    if not fields and not snapshot.denied:
        return
    yield "needs more rights than this user has (docs/privileges.md):"
    for field in fields:
        yield f"  {_name(field)}: {_ROOT}"
    for denied in snapshot.denied:
        yield f"  {denied.reading}: {denied.needs}; {denied.grant}"


def _name(field: str) -> str:
    return group_of(GpuReading)[field].name
