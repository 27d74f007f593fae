"""GPU usage: what kinds of GPUs draw, and how far the numbers can be trusted."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import limits, panels, style, tables
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import SITE, Expr, aggregate, fleet, select, where
from dashboards.kit.tables import Column, Key
from dashboards.usage.now import NO_PRICE, energy

GRAMS_A_KILOWATT_HOUR = "suffix: g/kWh"


def models() -> tuple[Panel, ...]:
    """Return GPUs and watts by model."""
    gpus = aggregate("sum", fleet("model:gpumon_gpus:count"), "name")
    watts = aggregate("sum", fleet("model:gpumon_gpu_power_watts:sum"), "name")
    each = where("{0} / {1}", watts, gpus)
    return (
        tables.listing(
            Text(
                "Models",
                "GPUs there are of each model, what they draw now, together and each, and what "
                "they drew over the time shown. Only GPUs that answer have a model.",
            ),
            Size(14, 6),
            (Key("name", "Model"),),
            (
                Column("GPUs", gpus),
                Column("Power", watts),
                Column("Of each", each),
                Column("Energy", energy(watts)),
            ),
            sort="GPUs",
        ),
        panels.lines(
            Text(
                "Power of each GPU, by model",
                "Mean over all GPUs of the model, busy or not. Compare it with the limit of the "
                "model: a wide gap for days is capacity that is not used.",
            ),
            Size(10, 6),
            {"{{name}}": each},
        ),
    )


def trust() -> tuple[Panel, ...]:
    """Return how far off joules and cost may be."""
    suspect = fleet("cluster:gpumon_gpus_energy_suspect:count")
    known = fleet("cluster:gpumon_facility_power_nodes:ratio")
    return (
        _error_of_the_joules(),
        _energy_counters_in_doubt(suspect),
        _nodes_in_the_cost(known),
        _what_cost_is_made_of(),
    )


def _error_of_the_joules() -> Panel:
    return panels.value(
        Text(
            "Error of the joules",
            f"{limits.JOULES_ERROR} A mean over the GPUs; see docs/energy.md.",
        ),
        Size(4),
        {
            "{{cluster}}": aggregate(
                "max", fleet("cluster:gpumon_gpu_energy_error_ratio:avg"), "cluster"
            )
        },
        thresholds=limits.joules_error(),
        named=True,
        absent="no GPU answers",
    )


def _energy_counters_in_doubt(suspect: Expr) -> Panel:
    return panels.lines(
        Text(
            "Energy counters in doubt",
            f"GPUs, by reason. Normal: none. {limits.COUNTER_IN_DOUBT}",
        ),
        Size(7),
        {"{{reason}}": aggregate("sum", suspect, "reason")},
        colors={
            "diverging": style.WARNING,
            "stuck": style.BAD,
            "jump": style.FINE,
        },
    )


def _nodes_in_the_cost(known: Expr) -> Panel:
    return panels.lines(
        Text(
            "Nodes in the cost",
            "The share of the nodes whose power is known. Cost, carbon and facility energy "
            "are of these only: at 80 % a fifth of the nodes is missing. Normal: 100 %.",
        ),
        Size(6),
        {"{{cluster}}": aggregate("min", known, "cluster")},
        axis=(0, 1),
        absent="no node's power is known",
    )


def _what_cost_is_made_of() -> Panel:
    return tables.listing(
        Text(
            "What cost is made of",
            "Price of a kWh, facility over node energy (PUE), and the grid's carbon, as gpumon "
            "site tells them now. Normal: as your contract, meters and grid have them.",
        ),
        Size(7),
        (Key("site", "Site"), Key("cluster", "Cluster"), Key("currency", "Currency")),
        (
            Column("Price", _fact("energy_price_per_kilowatt_hour", units.Short, "currency")),
            Column("PUE", _fact("pue_ratio", units.Short)),
            Column(
                "Carbon",
                _fact("carbon_intensity_grams_per_kilowatt_hour", GRAMS_A_KILOWATT_HOUR),
            ),
        ),
        absent=NO_PRICE,
    )


def _fact(name: str, unit: str, *more: str) -> Expr:
    """Return what gpumon site tells, for a site or for one of its clusters."""
    told = select(f"gpumon_site_{name}", SITE)
    return where("{0}", aggregate("max", told, "site", "cluster", *more), unit=unit)
