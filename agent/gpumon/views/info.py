"""Everything known of a GPU, line by line, with its metric's name and where it is read from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping

from gpumon.documents.snapshot import Document
from gpumon.documents.write import json_text
from gpumon.model import GpuReading, HostReading, Metric, NodeReading, Snapshot, group_of
from gpumon.model.origins import DERIVED, EVERY, MIG, NODE, Origins, origin_of, unanswered
from gpumon.times import format_time

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


def known(
    metrics: Iterable[Metric], owner: object, table: Origins | None, prefix: str = ""
) -> Iterator[Known]:
    """Yield what is known of an owner of metrics, with its origin; of states, those that hold.

    ``table`` says where the owner's values come from, by names that begin with ``prefix``.

    A number that is not finite is not known.
    """
    for metric in metrics:
        for values, number in metric.samples(owner):
            if (metric.states and not number) or not math.isfinite(number):
                continue
            origin = origin_of(table, f"{prefix}{metric.field}", values)
            pairs = zip(metric.labels, values, strict=True)
            yield Known(metric, {n: v for n, v in pairs if v}, number, origin)


def known_of_gpu(reading: GpuReading, table: Origins | None) -> Iterator[Known]:
    """Yield what is known of a GPU."""
    for each in known(group_of(GpuReading).metrics, reading, table):
        whole = reading.power_scope == "module" and each.metric.field == "power_watts"
        note = " (the whole module's)" if whole else ""
        yield dataclasses.replace(each, origin=each.origin + note)


def table_of(snapshot: Snapshot, reading: GpuReading) -> Origins | None:
    """Return where a GPU's values come from; None if its source does not report it."""
    return None if reading.origins is None else snapshot.origins.get(reading.origins)


def render(snapshot: Snapshot, *, node: bool) -> str:
    """Return what is known of a snapshot's GPUs, with the node's own if asked for, as text."""
    blocks = [_node(snapshot)] if node else []
    blocks += ["\n".join(_gpu(each, table_of(snapshot, each))) for each in snapshot.gpus]
    blocks.append("\n".join(_denied(snapshot)))
    return "\n\n".join(block for block in blocks if block) + "\n"


def to_json(snapshot: Snapshot) -> str:
    """Return the same for programs: each sample with its unit, meaning and origin."""
    whole = {
        "time": format_time(snapshot.time),
        "node": snapshot.node,
        "source": snapshot.source.source,
        "simulated": snapshot.source.simulated,
        "known": [
            *(
                _document(each)
                for _, group, field in _NODE
                for each in _known_of_node(snapshot, group, field)
            )
        ],
        "gpus": [_gpu_document(each, table_of(snapshot, each)) for each in snapshot.gpus],
        "denied": [dataclasses.asdict(denied) for denied in snapshot.denied],
    }
    return json_text(whole)


def _known_of_node(snapshot: Snapshot, group: type, field: str) -> Iterator[Known]:
    # What the GPUs draw together is their sum: gpumon's own.
    table = snapshot.origins.get(NODE) if group is HostReading else {EVERY: DERIVED}
    return known(group_of(group).metrics, getattr(snapshot, field), table)


def _gpu_document(reading: GpuReading, table: Origins | None) -> Document:
    return {
        "gpu": reading.identity.index,
        "uuid": reading.identity.uuid,
        "name": reading.identity.name,
        "state": reading.state.value,
        "reason": reading.reason,
        "known": [
            *map(_document, known_of_gpu(reading, table)),
            *(
                {"mig_uuid": instance.identity.mig_uuid, **_document(each)}
                for instance in reading.mig
                for each in known(group_of(type(instance)).metrics, instance, table, MIG)
            ),
        ],
        "not_answered": _absent(reading, table),
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
        lines += _lines(_known_of_node(snapshot, group, field))
    return "\n".join(lines)


def _gpu(reading: GpuReading, table: Origins | None) -> Iterator[str]:
    identity = reading.identity
    yield f"gpu {identity.index}  {identity.uuid}  {identity.name}"
    if reading.reason:
        yield f"  {reading.state.value}: {reading.reason}"
    yield from _lines(known_of_gpu(reading, table))
    for instance in reading.mig:
        yield f"  {instance.identity.mig_uuid}"
        metrics = group_of(type(instance)).metrics
        yield from _lines(known(metrics, instance, table, MIG), indent="    ")
    for process in reading.held_by:
        who = " ".join(word for word in (process.user, process.name) if word)
        memory = "" if process.memory_bytes is None else f"  {process.memory_bytes} bytes"
        yield f"  process {process.pid}  {who}{memory}"
    absent = _absent(reading, table)
    if absent:
        yield "  not reported by this GPU, driver or mode:"
        yield from (f"    {name}" for name in absent)


def _absent(reading: GpuReading, table: Origins | None) -> list[str]:
    """Return the metrics that a responding GPU was asked for and has no value of."""
    return [_name(field) for field in unanswered(table)] if reading.up else []


def _lines(found: Iterable[Known], indent: str = "  ") -> Iterator[str]:
    for each in found:
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
