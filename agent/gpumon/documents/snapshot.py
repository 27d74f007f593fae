"""The one document of a snapshot: what ``-o json`` prints, the API serves and recordings keep.

Keys are the metrics' words in base units, without prefix and ``_total``; what is not known is
null. A value with labels is an object by label value, nested if there are two labels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from gpumon.clock import SYSTEM
from gpumon.documents.write import SCHEMA
from gpumon.errors import UsageError
from gpumon.model import (
    AgentFacts,
    Denied,
    EnergyInfo,
    FabricInfo,
    Firmware,
    GpuIdentity,
    GpuProcess,
    GpuReading,
    GpuState,
    HostReading,
    Job,
    JobGpuReading,
    JobReading,
    Kind,
    LedgerReading,
    LedgerState,
    Metric,
    MigEnergyInfo,
    MigIdentity,
    MigReading,
    NodeReading,
    NodeTotals,
    NvswitchReading,
    PassedThrough,
    Platform,
    PowerSample,
    Snapshot,
    SourceInfo,
    group_of,
)
from gpumon.model.jobs import JOB_FACTS
from gpumon.model.origins import Origins
from gpumon.times import format_time, parse_time

Document = dict[str, Any]

_METRICS = [
    metric
    for metric in group_of(GpuReading).metrics
    if metric.field
    not in ("board", "state", "up", "platform", "virtualization", "fabric_partition_assigned")
]
_FACTS_OF = {
    "energy_info": EnergyInfo,
    "fabric_info": FabricInfo,
    "firmware": Firmware,
}
"""What an info metric of a GPU is made of, by its field."""

_IDENTITY = [name for name in GpuIdentity.__dataclass_fields__ if name != "index"]
_FACTS = ("driver_version", "nvml_version", "cuda_version")


def to_document(
    snapshot: Snapshot, *, samples: bool = False, monotonic: float | None = None
) -> Document:
    """Return the document of a snapshot; with its sub-second power samples if asked for.

    Ages are those at a moment of the monotonic clock, by default now.
    """
    now = SYSTEM.monotonic() if monotonic is None else monotonic
    return {
        "schema": SCHEMA,
        "time": format_time(snapshot.time),
        "source": snapshot.source.source,
        "source_detail": snapshot.source.detail,
        "simulated": snapshot.source.simulated,
        "up": snapshot.up,
        **{fact: getattr(snapshot.source, fact) for fact in _FACTS},
        "node": snapshot.node,
        "node_power": {m.field: getattr(snapshot.power, m.field) for m in _NODE_METRICS},
        "node_totals": {m.field: _plain(getattr(snapshot.totals, m.field)) for m in _TOTALS},
        "host": {m.field: _plain(getattr(snapshot.host, m.field)) for m in _HOST_METRICS},
        "gpus_expected": snapshot.gpus_expected,
        "gpus": [_gpu_document(gpu, now, samples=samples) for gpu in snapshot.gpus],
        **_ledger_document(snapshot.ledger),
        "errors": list(snapshot.errors),
        "denied": [dataclasses.asdict(denied) for denied in snapshot.denied],
        "origins": {str(number): dict(table) for number, table in snapshot.origins.items()},
        "passed_through": [_elsewhere(one) for one in snapshot.passed_through],
        "unlisted": list(snapshot.unlisted),
        "agent": _agent_document(snapshot.agent),
    }


def from_document(document: Document) -> Snapshot:
    """Return the snapshot of a document; UsageError if it is not one of this schema."""
    if not isinstance(document, dict):
        raise UsageError("no gpumon snapshot (not an object)")
    if document.get("schema") != SCHEMA:
        raise UsageError(
            f"a document of schema {document.get('schema')!r}, not {SCHEMA}",
            "read it with the version of gpumon that wrote it",
        )
    try:
        return Snapshot(
            time=parse_time(document["time"]),
            source=SourceInfo(
                document["source"],
                document.get("source_detail", ""),
                simulated=document.get("simulated", False),
                **{fact: document.get(fact, "") for fact in _FACTS},
            ),
            node=document.get("node", ""),
            up=document.get("up", True),
            gpus_expected=document.get("gpus_expected"),
            gpus=tuple(_gpu_from(gpu) for gpu in document["gpus"]),
            power=NodeReading(
                **{m.field: document.get("node_power", {}).get(m.field) for m in _NODE_METRICS}
            ),
            totals=_totals_from(document.get("node_totals", {})),
            host=_host_from(document.get("host", {})),
            ledger=_ledger_from(document),
            errors=tuple(document.get("errors", ())),
            denied=tuple(Denied(**denied) for denied in document.get("denied", ())),
            origins=_origins_from(document.get("origins", {})),
            passed_through=tuple(map(_elsewhere_from, document.get("passed_through", ()))),
            unlisted=tuple(document.get("unlisted", ())),
            agent=_agent_from(document.get("agent")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UsageError(f"no gpumon snapshot ({type(error).__name__}: {error})") from None


_NODE_METRICS = group_of(NodeReading).metrics
_TOTALS = group_of(NodeTotals).metrics
_HOST_METRICS = group_of(HostReading).metrics
_JOB_METRICS = [m for m in group_of(JobReading).metrics if m.kind is not Kind.INFO]
_AGENT = (
    *("clock_synchronized", "clock_offset_seconds"),
    *("unattributed_xids", "manager", "unresolved_jobs"),
)
_NVSWITCH = ("nvswitch", "pci_bus_id")
_SXIDS = group_of(NvswitchReading).metrics
_SHARE = ("gpu", "uuid", "share", "energy_joules")
_MIG_METRICS = [m for m in group_of(MigReading).metrics if m.kind is not Kind.INFO]

METRICS: Mapping[str, Sequence[Metric]] = {
    "gpu": _METRICS,
    "mig": _MIG_METRICS,
    "job": _JOB_METRICS,
    "node_power": _NODE_METRICS,
    "node_totals": _TOTALS,
    "host": _HOST_METRICS,
}
"""The metrics whose fields are keys, by the object they are in."""


_BOARD = ("uuid", "name", "serial")


def _elsewhere(one: PassedThrough) -> Document:
    """Return a GPU that another driver has; who it is is null if it was never seen here."""
    who = {name: getattr(one.identity, name) if one.identity else None for name in _BOARD}
    return {"pci_bus_id": one.pci_bus_id, "driver": one.driver, **who}


def _elsewhere_from(document: Document) -> PassedThrough:
    address = str(document["pci_bus_id"])
    who = {name: document[name] for name in _BOARD if document.get(name)}
    identity = GpuIdentity(index=-1, pci_bus_id=address, **who) if "uuid" in who else None
    return PassedThrough(address, str(document["driver"]), identity)


def _gpu_document(gpu: GpuReading, now: float, *, samples: bool) -> Document:
    document: Document = {"gpu": gpu.identity.index}
    document.update((name, getattr(gpu.identity, name)) for name in _IDENTITY)
    place = gpu.identity.platform
    document["platform"] = dataclasses.asdict(place) if place is not None else None
    document.update(state=gpu.state.value, reason=gpu.reason)
    document["time"] = format_time(gpu.time) if gpu.time else None
    document["age_seconds"] = gpu.age(now)
    document["power_scope"] = gpu.power_scope
    for metric in _METRICS:
        value = getattr(gpu, metric.field)
        document[metric.field] = _plain(value)
    document["mig"] = [_mig_document(instance) for instance in gpu.mig]
    document["held_by"] = [dataclasses.asdict(process) for process in gpu.held_by]
    document["denied"] = list(gpu.denied)
    document["origins"] = gpu.origins
    document["jobs"] = list(gpu.jobs)
    document["since"] = {name: format_time(began) for name, began in (gpu.since or {}).items()}
    if samples:
        document["power_samples"] = [[s.time, s.watts] for s in gpu.power_samples]
    return document


def _agent_document(agent: AgentFacts | None) -> Document | None:
    if agent is None:
        return None
    return {
        **{name: getattr(agent, name) for name in _AGENT},
        "collectors": dict(agent.collectors),
        "nvswitches": [
            {
                **{name: getattr(switch, name) for name in _NVSWITCH},
                **{m.field: _plain(getattr(switch, m.field)) for m in _SXIDS},
            }
            for switch in agent.nvswitches
        ],
    }


def _agent_from(document: Document | None) -> AgentFacts | None:
    if document is None:
        return None
    offset = document.get("clock_offset_seconds")
    if offset is not None:
        _check_numbers(offset)
    return AgentFacts(
        **{name: document[name] for name in _AGENT if name in document},
        collectors={str(k): bool(v) for k, v in document.get("collectors", {}).items()},
        nvswitches=tuple(
            NvswitchReading(
                **{name: switch[name] for name in _NVSWITCH},
                **{m.field: _checked(m, switch.get(m.field)) for m in _SXIDS},
            )
            for switch in document.get("nvswitches", ())
        ),
    )


def _mig_document(instance: MigReading) -> Document:
    return {
        **dataclasses.asdict(instance.identity),
        **{m.field: getattr(instance, m.field) for m in _MIG_METRICS},
        "energy_method": instance.energy_info.method if instance.energy_info else None,
    }


def _mig_from(document: Document, gpu: int, uuid: str) -> MigReading:
    method = document.get("energy_method")
    return MigReading(
        gpu=gpu,
        uuid=uuid,
        identity=MigIdentity(**{name: document[name] for name in MigIdentity.__slots__}),
        energy_info=MigEnergyInfo(method) if method else None,
        **{m.field: _checked(m, document.get(m.field)) for m in _MIG_METRICS},
    )


def _ledger_document(ledger: LedgerState) -> Document:
    """Return the jobs with their GPUs, and each GPU's account beyond them."""
    gpus: dict[str, list[Document]] = {}
    for share in ledger.shares:
        values = {name: getattr(share, name) for name in _SHARE}
        gpus.setdefault(share.job_id, []).append(values)
    jobs = [
        {
            **reading.job.facts(),
            **{m.field: _plain(getattr(reading, m.field)) for m in _JOB_METRICS},
            "gpus": gpus.get(reading.job.job_id, []),
        }
        for reading in ledger.jobs
    ]
    return {"jobs": jobs, "ledger": [dataclasses.asdict(account) for account in ledger.gpus]}


def _ledger_from(document: Document) -> LedgerState:
    jobs = document.get("jobs", [])
    return LedgerState(
        jobs=tuple(
            JobReading(
                job=Job(**{name: job[name] for name in JOB_FACTS}),
                **{m.field: _checked(m, job.get(m.field)) for m in _JOB_METRICS},
            )
            for job in jobs
        ),
        shares=tuple(
            JobGpuReading(job_id=job["job_id"], **share) for job in jobs for share in job["gpus"]
        ),
        gpus=tuple(LedgerReading(**account) for account in document.get("ledger", ())),
    )


def _origins_from(document: Document) -> dict[int, Origins]:
    return {
        int(number): {str(name): str(words) for name, words in table.items()}
        for number, table in document.items()
    }


def _totals_from(document: Document) -> NodeTotals:
    return NodeTotals(**{m.field: _checked(m, document.get(m.field)) for m in _TOTALS})


def _host_from(document: Document) -> HostReading:
    return HostReading(**{m.field: _checked(m, document.get(m.field)) for m in _HOST_METRICS})


def _checked(metric: Metric, value: Any) -> Any:
    value = _known(value)
    if value is not None:
        _check_numbers(value)
    return _flat(metric, value)


def _flat(metric: Metric, value: Any) -> Any:
    """Return a metric's value as it was before ``_nested``."""
    if isinstance(value, dict) and len(metric.labels) > 1:
        return {(o, i): number for o, inner in value.items() for i, number in inner.items()}
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, EnergyInfo | FabricInfo | Firmware):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return _nested(value)
    return value


def _nested(value: Mapping[Any, Any]) -> Document:
    nested: Document = {}
    for key, number in value.items():
        if isinstance(key, tuple):
            outer, inner = key
            nested.setdefault(outer, {})[inner] = number
        else:
            nested[key] = number
    return nested


def _known(value: Any) -> Any:
    """Return a value without the labels whose number is null; None if nothing is left."""
    if not isinstance(value, dict):
        return value
    inner = {label: _known(number) for label, number in value.items()}
    left = {label: number for label, number in inner.items() if number is not None}
    return left if left or not value else None


def _check_numbers(value: Any) -> None:
    """Raise TypeError or ValueError for what is neither a finite number nor an object of such."""
    if isinstance(value, dict):
        for inner in value.values():
            _check_numbers(inner)
    elif not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a reading")


def _read_at(age: float | None) -> float:
    """Return the moment on this machine's monotonic clock that lies an age back; 0 for none."""
    return 0.0 if age is None else SYSTEM.monotonic() - age


def _gpu_from(document: Document) -> GpuReading:
    identity = GpuIdentity(
        index=document["gpu"],
        **{name: document[name] for name in _IDENTITY if name in document and name != "platform"},
        platform=Platform(**document["platform"]) if document.get("platform") else None,
    )
    values: dict[str, Any] = {}
    for metric in _METRICS:
        value = document.get(metric.field)
        if metric.kind is not Kind.INFO:
            value = _known(value)
        if value is None:
            continue
        if metric.kind is not Kind.INFO and not metric.states:
            _check_numbers(value)
        if metric.kind is Kind.INFO:
            value = _FACTS_OF[metric.field](**value)
        elif isinstance(value, list):
            value = frozenset(value)
        values[metric.field] = _flat(metric, value)
    return GpuReading(
        identity=identity,
        state=GpuState(document["state"]),
        reason=document.get("reason", ""),
        read_at=_read_at(document.get("age_seconds")),
        time=parse_time(document["time"]) if document.get("time") else 0.0,
        power_scope=document.get("power_scope", "gpu"),
        power_samples=tuple(
            PowerSample(float(time), float(watts))
            for time, watts in document.get("power_samples", ())
            if watts is not None
        ),
        mig=tuple(_mig_from(m, identity.index, identity.uuid) for m in document.get("mig", ())),
        held_by=tuple(GpuProcess(**process) for process in document.get("held_by", ())),
        jobs=tuple(document.get("jobs", ())),
        denied=tuple(document.get("denied", ())),
        origins=document.get("origins"),
        since={name: parse_time(began) for name, began in (document.get("since") or {}).items()}
        or None,
        **values,
    )
