"""GPU monitoring itself: what agents cost their nodes, and rules their Prometheus."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import links, panels, style
from dashboards.kit.fleet_series import by_node
from dashboards.kit.panels import LIMIT, Size, Text
from dashboards.kit.promql import ANYWHERE, Expr, aggregate, increase, select, where, worst
from dashboards.monitor.now import (
    CPU,
    MEMORY,
    NO_SELF_SCRAPE,
    SAMPLES,
    share_of_interval,
)


def agents() -> tuple[Panel, ...]:
    """Return series, CPU time and memory of agents, over time and at the costly end."""
    samples = by_node("gpumon_scrape_samples:sum")
    return (
        panels.lines(
            Text(
                "Series of all agents",
                "Samples that Prometheus keeps of a round of scrapes. It grows with nodes and "
                "with jobs; a jump is a new version, a higher tier or per-process series.",
            ),
            Size(6, 9),
            {"series": SAMPLES},
            colors={"series": style.WELL},
        ),
        panels.bars(
            Text(
                "Nodes with most series",
                "The ten largest. Nodes alike should have alike; one far above the others has "
                "many jobs, or another configuration.",
            ),
            Size(6, 9),
            "{{instance}}",
            worst(10, samples),
            link=links.NODE,
        ),
        panels.lines(
            Text(
                "CPU of agents",
                "Share of one core, both processes: mean and highest of the nodes. Normal: a few "
                "per cent. Scrapes cost next to nothing; slow NVML calls do.",
            ),
            Size(6, 9),
            _mean_and_highest(CPU),
            colors=_COLORS,
        ),
        panels.lines(
            Text(
                "Memory of agents",
                "Resident memory, both processes: mean and highest of the nodes. Normal: flat; "
                "a line that only rises is a leak, and a bug to report.",
            ),
            Size(6, 9),
            _mean_and_highest(MEMORY),
            colors=_COLORS,
        ),
    )


_COLORS = {"mean": style.WELL, "highest": style.WARNING}


def _mean_and_highest(of: Expr) -> dict[str, Expr]:
    return {"mean": aggregate("avg", of), "highest": aggregate("max", of)}


def prometheus() -> tuple[Panel, ...]:
    """Return what Prometheus tells of gpumon's rules, where it scrapes itself."""
    groups = f'{ANYWHERE},rule_group=~".*gpumon.*"'
    return (
        _rules_share_of_their_time(),
        _what_the_rules_take_over_time(),
        _rules_that_failed(groups),
        _series_that_prometheus_holds(),
    )


def _rules_share_of_their_time() -> Panel:
    return panels.bars(
        Text(
            "Rules' share of their time",
            "The ten dearest groups: their last duration over their interval. Normal: below "
            "a fifth. At 100 % evaluations are left out. Absent where Prometheus does not "
            "scrape itself.",
        ),
        Size(7, 9),
        "{{group}}",
        worst(10, share_of_interval()),
        style.worsening(0.5, 0.9),
        most=1,
        absent=NO_SELF_SCRAPE,
    )


def _what_the_rules_take_over_time() -> Panel:
    return panels.lines(
        Text(
            "What the rules take over time",
            "Dearest: that group's share of its interval, below 100 % (dashed). All: of all "
            "groups together, about as many CPU cores as they keep busy beside the scrapes. "
            "Absent where Prometheus does not scrape itself.",
        ),
        Size(8, 9),
        {
            "dearest": aggregate("max", share_of_interval()),
            "all": aggregate("sum", share_of_interval()),
            LIMIT: where("0 * max({0}) + 1", share_of_interval()),
        },
        colors={"dearest": style.WARNING, "all": style.WELL},
        absent=NO_SELF_SCRAPE,
    )


def _rules_that_failed(groups: str) -> Panel:
    return panels.value(
        Text(
            "Rules that failed",
            "Over the time shown: evaluations that failed, and those left out because the "
            "last took too long. Normal: 0. Prometheus's page of rules shows the error. "
            "Absent where Prometheus does not scrape itself.",
        ),
        Size(4, 9),
        {
            "failed": _over_the_time("prometheus_rule_evaluation_failures_total", groups),
            "left out": _over_the_time("prometheus_rule_group_iterations_missed_total", groups),
        },
        thresholds=style.ANY_WARNING,
        absent=NO_SELF_SCRAPE,
    )


def _series_that_prometheus_holds() -> Panel:
    return panels.lines(
        Text(
            "Series that Prometheus holds",
            "Of everything that it scrapes, not of gpumon alone. Plan 3 to 4 KiB of memory "
            "for each. Absent where Prometheus does not scrape itself.",
        ),
        Size(5, 9),
        {"series": aggregate("max", select("prometheus_tsdb_head_series", ANYWHERE))},
        colors={"series": style.WELL},
        absent=NO_SELF_SCRAPE,
    )


def _over_the_time(name: str, matchers: str) -> Expr:
    return where("round(sum({0}))", increase(select(name, matchers)))
