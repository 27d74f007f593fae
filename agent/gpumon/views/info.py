"""Everything known of a GPU, line by line, with its metric's name and where it is read from."""

from __future__ import annotations

from collections.abc import Iterator

from gpumon.model import GpuReading, HostReading, Metric, NodeReading, Snapshot, group_of
from gpumon.views.catalogue import sources_of

_ROOT = "root, as the driver sees it (CAP_SYS_ADMIN)"
_NODE = (("node", NodeReading, "power"), ("host", HostReading, "host"))


def render(snapshot: Snapshot, gpu: int | None) -> str:
    """Return what is known of one GPU, or of the node and all of its GPUs, as text."""
    blocks = [] if gpu is not None else [_node(snapshot)]
    blocks += [
        "\n".join(_gpu(reading))
        for reading in snapshot.gpus
        if gpu is None or reading.identity.index == gpu
    ]
    blocks.append("\n".join(_denied(snapshot)))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _node(snapshot: Snapshot) -> str:
    lines = [f"node {snapshot.node}", f"  source {snapshot.source.source}"]
    for _, group, field in _NODE:
        lines += _lines(group_of(group).metrics, getattr(snapshot, field), "")
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
        yield from _lines(group_of(type(instance)).metrics, instance, "", indent="    ")
    for process in reading.held_by:
        who = " ".join(word for word in (process.user, process.name) if word)
        memory = "" if process.memory_bytes is None else f"  {process.memory_bytes} bytes"
        yield f"  process {process.pid}  {who}{memory}"
    absent = [m.name for m in metrics if m.nvml and getattr(reading, m.field) is None]
    absent = [name for name in absent if not any(name == _name(f) for f in reading.denied)]
    if absent and reading.up:
        yield "  not answered by this GPU, driver or mode:"
        yield from (f"    {name}" for name in absent)


def _lines(
    metrics: tuple[Metric, ...], owner: object, scope: str, indent: str = "  "
) -> Iterator[str]:
    for metric in metrics:
        origin = ", ".join(sources_of(metric)[:1]) or "gpumon"
        for values, number in metric.samples(owner):
            if metric.states and not number:
                continue  # of states, those that hold
            pairs = zip(metric.labels, values, strict=True)
            labels = ",".join(f"{name}={value}" for name, value in pairs if value)
            name = f"{metric.name}{{{labels}}}" if labels else metric.name
            of_module = scope == "module" and metric.field == "power_watts"
            note = " (the whole module's)" if of_module else ""
            yield f"{indent}{name:<62} {number:<20} {origin}{note}"


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
