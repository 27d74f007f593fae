"""GPU node: states, memory errors, the measuring itself, and which GPU is where."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import limits, links, panels, style, tables
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import aggregate, coded, increase, node, rate
from dashboards.kit.style import State
from gpumon.model.terms import GPU_STATES, RECOVERY_ACTIONS

GPU = "GPU {{gpu}}"

STATES = {state: number for number, state in enumerate(GPU_STATES)}
ACTIONS = {action: number for number, action in enumerate(RECOVERY_ACTIONS)}
WELL_STATES = {"ok": style.WELL, "none": style.WELL, "released": style.NEUTRAL}


def named(codes: dict[str, int]) -> dict[int, State]:
    """Return the words and colours of numbered states: what is not known to be well is bad."""
    return {
        number: State(state.replace("_", " "), WELL_STATES.get(state, style.BAD))
        for state, number in codes.items()
    }


def health() -> tuple[Panel, ...]:
    """Return whether GPUs answer, what the driver asks for, and memory errors."""
    return (
        _state_by_gpu(),
        _action_the_driver_asks_for_by_gpu(),
        _memory_errors(),
        _row_repair_by_gpu(),
        _rows_replaced_by_gpu(),
    )


def _state_by_gpu() -> Panel:
    return panels.timeline(
        Text(
            "State by GPU",
            "Normal: ok. Lost: it has left the bus. Hung: a call to the driver does not "
            "return. Released: somebody made the agent let go of it.",
        ),
        Size(12),
        GPU,
        coded("gpumon_gpu_state", "state", STATES, "gpu"),
        named(STATES),
        link=links.GPU,
    )


def _action_the_driver_asks_for_by_gpu() -> Panel:
    return panels.timeline(
        Text(
            "Action the driver asks for, by GPU",
            "Normal: none. Anything else: drain the node and do what it says. Absent with "
            "drivers that do not tell.",
        ),
        Size(12),
        GPU,
        coded("gpumon_gpu_recovery_action", "action", ACTIONS, "gpu"),
        named(ACTIONS),
        link=links.GPU,
    )


def _memory_errors() -> Panel:
    return panels.bars(
        Text(
            "Memory errors",
            "All GPUs, over the time shown. Corrected ones are harmless in small numbers; an "
            "uncorrected one has cost a job its data.",
        ),
        Size(8),
        "{{error}}, {{location}}",
        aggregate("sum", increase(node("gpumon_gpu_ecc_errors_total")), "error", "location"),
        thresholds=style.ANY_WARNING,
    )


def _row_repair_by_gpu() -> Panel:
    return panels.timeline(
        Text(
            "Row repair by GPU",
            "Normal: none. Pending: reset the GPU when its job is done. Failed: have the "
            "board replaced.",
        ),
        Size(8),
        GPU,
        node("gpumon_gpu_row_remap_pending") + 2 * node("gpumon_gpu_row_remap_failed"),
        {
            0: State("none", style.WELL),
            1: State("pending: reset it", style.WARNING),
            2: State("failed: replace it", style.BAD),
            3: State("failed, and another pending", style.BAD),
        },
        link=links.GPU,
    )


def _rows_replaced_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "Rows replaced by GPU",
            "Over the board's life. Few are normal and stay so; those for uncorrected errors "
            "are limited by the spare rows there are.",
        ),
        Size(8),
        {"GPU {{gpu}} {{cause}}": node("gpumon_gpu_remapped_rows_total")},
        link=links.GPU,
    )


def measuring() -> tuple[Panel, ...]:
    """Return whether the numbers can be trusted, and what they cost."""
    server = rate(node("process_cpu_seconds_total"))
    reader = rate(node("gpumon_reader_process_cpu_seconds_total"))
    return (
        panels.lines(
            Text(
                "Age of the readings by GPU",
                "Normal: about a second, the agent's interval. What grows is a GPU that does not "
                "answer: its readings are left out, not repeated.",
            ),
            Size(8),
            {GPU: node("gpumon_gpu_sample_age_seconds")},
            thresholds=limits.no_more_than(limits.STALE),
            link=links.GPU,
        ),
        panels.timeline(
            Text("Collectors", "Normal: all succeed. The agent's log says why one does not."),
            Size(5),
            "{{collector}}",
            node("gpumon_collector_success"),
            {0: State("fails", style.BAD), 1: State("succeeds", style.WELL)},
        ),
        panels.value(
            Text(
                "Readers replaced",
                "Over the time shown. Normal: 0. Each is a reader that died in the driver or "
                "stood still in it: see the kernel's log for NVRM lines.",
            ),
            Size(3),
            {"readers": increase(node("gpumon_reader_restarts_total"))},
            thresholds=style.ANY_BAD,
        ),
        panels.value(
            Text(
                "Xids without a GPU",
                "Of a PCI address at which no GPU has ever been seen: they are on no GPU's "
                "account. Normal: 0. See the kernel's log, and whether a GPU is missing.",
            ),
            Size(3),
            {"xids": node("gpumon_unattributed_xids")},
            thresholds=style.ANY_WARNING,
        ),
        panels.lines(
            Text(
                "What the agent costs",
                "Share of one CPU core. Normal: a few per cent; it does not depend on how often "
                "it is scraped, for scrapes read nothing.",
            ),
            Size(5),
            {"server": server, "reader": reader},
        ),
    )


def inventory() -> tuple[Panel, ...]:
    """Return which GPU is where."""
    columns = {
        "gpu": "GPU",
        "name": "Model",
        "serial": "Serial",
        "pci_bus_id": "PCI address",
        "module_id": "Module",
        "uuid": "UUID",
        "vbios_version": "VBIOS",
        "board_part_number": "Part",
    }
    return (
        tables.facts(
            Text(
                "Which GPU is where",
                "GPU is the driver's number, which may change over a reboot; UUID and serial stay "
                "with the board, address and module with the slot.",
            ),
            Size(24, 11),
            node("gpumon_gpu_info"),
            columns,
            links={"GPU": links.GPU},
            widths={"GPU": 60, "Module": 80, "UUID": 350},
        ),
    )
