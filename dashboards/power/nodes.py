"""GPU power and heat: the nodes of the chosen racks that draw, heat up or are held down most."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import keys, limits, panels, style, tables
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import FLEET, Expr, aggregate, select, where, worst
from dashboards.kit.tables import Column, Key
from dashboards.power.heat import BY_HEAT, BY_HEAT_OR_BRAKE, HBM, LOSS, MARGIN
from dashboards.power.series import HALLS

KEY = ("cluster", "rack", "instance")
KEYS = (keys.NODE, keys.CLUSTER, Key("rack", "Rack"))

CHOSEN = f'{FLEET},{HALLS},rack=~"$rack"'

CAPPED = limits.limit("power.cap_ratio")
"""Of the limit as built: what the alert on caps calls lowered."""


def _of_nodes(function: str, name: str, **labels: str | tuple[str, ...]) -> Expr:
    """Return a recorded series of the nodes of the chosen racks."""
    chosen = select(f"instance:{name}", CHOSEN, **labels)
    return aggregate(function, chosen, *KEY)


def _too(of: Expr, which: Expr) -> Expr:
    """Return the same nodes' other numbers."""
    return where("{0} and on (cluster, rack, instance) {1}", of, which)


def nodes() -> tuple[Panel, ...]:
    """Return tables of nodes, each with a link to the node."""
    return (_drawing(), _hottest(), _capped(), _held_down())


def _drawing() -> Panel:
    most = worst(10, _of_nodes("sum", "gpumon_known_power_watts:sum"))
    return tables.listing(
        Text(
            "Nodes that draw most",
            "The ten of the chosen racks. Power: the whole node where it is known, else its GPUs. "
            "Peak: of its GPUs together, sub-second, in the last half minute.",
        ),
        Size(12),
        KEYS,
        (
            Column("Power", most),
            Column("GPUs", _too(_of_nodes("sum", "gpumon_gpu_power_watts:sum"), most)),
            Column("Peak", _too(_of_nodes("sum", "gpumon_gpu_power_peak_watts:sum"), most)),
            Column("Limit", _too(_of_nodes("sum", "gpumon_gpu_power_limit_watts:sum"), most)),
            Column("Activity", _too(_of_nodes("avg", "gpumon_gpu_activity_ratio:avg"), most)),
        ),
        sort="Power",
    )


def _hottest() -> Panel:
    margin = _of_nodes("min", "gpumon_gpu_temperature_margin_celsius:min")
    hottest = worst(10, margin, lowest=True)
    lost = _of_nodes("sum", "gpumon_gpu_throttle_seconds:rate5m", reason=BY_HEAT)
    return tables.listing(
        Text(
            "Hottest nodes",
            "The ten of the chosen racks with the lowest margin. One hot GPU points at its cold "
            "plate; all of a node at its fans or its loop. Lost: GPUs' worth of time.",
        ),
        Size(12),
        KEYS,
        (
            Column("Margin", hottest, MARGIN),
            Column(
                "Hot GPUs",
                _too(_of_nodes("sum", "gpumon_gpus_hot:count"), hottest),
                style.some(style.BAD),
            ),
            Column(
                "HBM",
                _too(_of_nodes("max", "gpumon_gpu_memory_temperature_celsius:max"), hottest),
                HBM,
            ),
            Column("Lost", _too(lost, hottest), LOSS),
            Column("Power", _too(_of_nodes("sum", "gpumon_known_power_watts:sum"), hottest)),
        ),
    )


def _capped() -> Panel:
    limit = _of_nodes("sum", "gpumon_gpu_power_limit_watts:sum")
    built = _of_nodes("sum", "gpumon_gpu_power_limit_default_watts:sum")
    lowered = where(
        f"topk(10, 1 - ({{0}} / {{1}} < {CAPPED}))", limit, built, unit=units.PercentUnit
    )
    return tables.listing(
        Text(
            "Nodes with lowered limits",
            "Whose GPUs' limits are below those as built: by somebody, or by the platform. Empty "
            "when all is well, or when nobody caps on purpose.",
        ),
        Size(12, 7),
        KEYS,
        (
            Column("Lowered by", lowered, style.thresholds(style.WARNING)),
            Column("In force", _too(limit, lowered)),
            Column("As built", _too(built, lowered)),
            Column("GPUs draw", _too(_of_nodes("sum", "gpumon_gpu_power_watts:sum"), lowered)),
        ),
        sort="Lowered by",
        absent=panels.WELL,
    )


def _held_down() -> Panel:
    chosen = select(
        "instance:gpumon_gpu_throttle_seconds:rate5m",
        CHOSEN,
        reason=BY_HEAT_OR_BRAKE,
    )
    lost = aggregate("sum", chosen, *KEY, "reason")
    return tables.listing(
        Text(
            "Nodes held down by heat or by a power brake",
            "GPUs' worth of time lost over five minutes, by reason. hw_power_brake: the power "
            "supply asked for it. Empty when all is well.",
        ),
        Size(12, 7),
        (*KEYS, Key("reason", "Reason")),
        (Column("Lost", where("topk(10, {0} > 0.01)", lost), LOSS),),
        sort="Lost",
        absent=panels.WELL,
    )
