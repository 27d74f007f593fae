"""Nodes by how much is wrong with them: the one order that ``instance:gpumon_troubles`` gives."""

from __future__ import annotations

import dataclasses

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import keys, panels, style, tables
from dashboards.kit.fleet_series import by_node
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import where
from dashboards.kit.tables import Column


@dataclasses.dataclass(frozen=True)
class Trouble:
    """A column of what is wrong with nodes: the kinds of trouble that it counts."""

    heading: str
    kinds: tuple[str, ...]
    color: str


MISSING = Trouble("Missing", ("missing",), style.BAD)
REPAIR = Trouble("Repair", ("to_repair",), style.BAD)
HOT = Trouble("Hot", ("hot",), style.WARNING)
NVLINKS = Trouble("NVLinks", ("nvlinks_down",), style.BAD)
PCIE = Trouble("PCIe", ("pcie_narrow",), style.WARNING)
LINKS = Trouble("Links", NVLINKS.kinds + PCIE.kinds, style.WARNING)
XIDS = Trouble("Xids", ("xids",), style.WARNING)
ROWS = Trouble("Rows", ("row_remap",), style.WARNING)


def nodes(text: Text, size: Size, troubles: tuple[Trouble, ...], *, most: int) -> Panel:
    """Return the nodes that are worst off, and how much of each trouble they have."""
    score = by_node("gpumon_troubles:score")
    worst = where(f"topk({most}, {{0}})", score)
    counts = (
        Column(
            trouble.heading,
            where("{0} and {1}", by_node("gpumon_troubles:count", trouble=trouble.kinds), worst),
            style.some(trouble.color),
        )
        for trouble in troubles
    )
    return tables.listing(
        text,
        size,
        (keys.NARROW_NODE, keys.NARROW_CLUSTER),
        (Column("Score", worst), *counts),
        sort="Score",
        absent=panels.WELL,
    )
