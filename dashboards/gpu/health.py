"""GPU: memory errors, conditions that must not hold, and how old its readings are."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.gpu.series import gpu, new
from dashboards.kit import panels, style, tables
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import Expr, aggregate, coded, increase, where
from dashboards.kit.style import State
from dashboards.kit.tables import Column, Key
from gpumon.model.terms import FABRIC_STATES

PENDING, BAD = 1, 2

CONDITIONS = {
    "row remap pending": (PENDING, "gpumon_gpu_row_remap_pending"),
    "row remap failed": (BAD, "gpumon_gpu_row_remap_failed"),
    "banks without spare rows": (PENDING, "gpumon_gpu_remap_banks_exhausted"),
    "SRAM errors past limit": (BAD, "gpumon_gpu_sram_threshold_exceeded"),
}
"""What may be wrong with the memory for good: how bad it is, and which metric is more than 0."""

FABRIC = {state: number for number, state in enumerate(FABRIC_STATES)}


def _conditions() -> Expr:
    """Return each condition as a number, by name; the fabric's have theirs already."""
    memory = [
        where(f'{bad} * label_replace({{0}} > bool 0, "condition", "{name}", "", "")', gpu(metric))
        for name, (bad, metric) in CONDITIONS.items()
    ]
    every = BAD * gpu("gpumon_gpu_fabric_unhealthy")
    for one in memory:
        every = every | one
    return aggregate("max", every, "condition")


def memory() -> tuple[Panel, ...]:
    """Return memory errors, and what the board is to be reset or replaced for."""
    errors = gpu("gpumon_gpu_ecc_errors_total")
    return (
        panels.lines(
            Text(
                "Memory errors",
                "New ones at each point. Corrected ones are harmless in small numbers; an "
                "uncorrected one has cost a job its data.",
            ),
            Size(7),
            {"{{error}}, {{location}}": new(errors)},
        ),
        panels.value(
            Text(
                "Errors in the time shown",
                "Corrected: harmless in small numbers, a storm slows the driver down. "
                "Uncorrected: normally 0.",
            ),
            Size(4),
            {
                "corrected": _errors("corrected"),
                "uncorrected": _errors("uncorrected"),
            },
            each={"uncorrected": style.ANY_BAD},
        ),
        panels.lines(
            Text(
                "Rows replaced",
                "Over the board's life. Few are normal and stay so; those for uncorrected errors "
                "are limited by the spare rows there are.",
            ),
            Size(5),
            {"{{cause}}": gpu("gpumon_gpu_remapped_rows_total")},
        ),
        panels.timeline(
            Text(
                "Conditions that must not hold",
                "Memory: pending waits for a reset, past limit or failed is for a new board. "
                "Fabric: what makes NVLink between GPUs unfit. Only those that this GPU tells.",
            ),
            Size(8),
            "{{condition}}",
            _conditions(),
            {
                0: State("no", style.WELL),
                PENDING: State("yes: see to it", style.WARNING),
                BAD: State("yes: bad", style.BAD),
            },
        ),
    )


def _errors(which: str) -> Expr:
    """Return whole errors, though increase() reckons with parts of them."""
    return where("round(sum({0}))", increase(gpu("gpumon_gpu_ecc_errors_total", error=which)))


def measuring() -> tuple[Panel, ...]:
    """Return how old its readings are, its fabric, and its instances."""
    return (
        panels.lines(
            Text(
                "Age of its reading over time",
                "Normal: about a second, the agent's interval. What grows is a GPU that does not "
                "answer: its readings are left out, not repeated.",
            ),
            Size(8, 6),
            {"age": gpu("gpumon_gpu_sample_age_seconds")},
        ),
        panels.timeline(
            Text(
                "NVLink fabric",
                "How far it has come in joining its fabric. Normal: completed, before any job "
                "runs. Absent where there is no NVSwitch.",
            ),
            Size(6, 6),
            "fabric",
            coded("gpumon_gpu_fabric_state", "state", FABRIC, of=gpu),
            {
                FABRIC["not_started"]: State("not started", style.BAD),
                FABRIC["in_progress"]: State("in progress", style.WARNING),
                FABRIC["completed"]: State("completed", style.WELL),
            },
            absent="absent: no fabric, or no answer",
        ),
        tables.listing(
            Text(
                "MIG instances",
                "Parts that the GPU is divided into, each with its own activity and memory; "
                "utilisation is then absent. Normal: none, where MIG is not used.",
            ),
            Size(10, 6),
            (Key("profile", "Profile"), Key("gpu_instance", "GI"), Key("compute_instance", "CI")),
            (
                Column("SM active", _instance("gpumon_mig_sm_active_ratio")),
                Column("Memory used", _instance("gpumon_mig_memory_used_bytes")),
            ),
            absent="none that answers",
        ),
    )


def _instance(metric: str) -> Expr:
    """Return a reading of the GPU's instances by what they are."""
    return where(
        "max by (profile, gpu_instance, compute_instance) ({0} * on (cluster, instance, mig_uuid)"
        " group_left (profile, gpu_instance, compute_instance) {1})",
        gpu(metric),
        gpu("gpumon_mig_info"),
    )
