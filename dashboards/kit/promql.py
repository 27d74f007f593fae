"""PromQL that knows its unit and its meaning, made from the catalogue's metrics.

Every series is of what the dashboard shows: a fleet, or one node, GPU or job. The ``cluster`` label
is optional, so the variable's "All" also matches targets that have none.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

from grafana_foundation_sdk.models import units

from dashboards.kit.metrics import PER_SECOND, UnknownMetricError, known

JOB = 'job="gpumon"'
FLEET = 'cluster=~"$cluster"'
CLUSTER = f"{JOB},{FLEET}"
SITE = 'site=~"$site"'
"""Of the chosen sites: what is recorded by place knows no cluster, for a rack may hold two."""

PLACES = ("site", "hall", "row", "rack", "budget")
"""Levels of recorded series that are of a place."""

ANYWHERE = 'cluster=~"$cluster|"'
"""Of the chosen clusters, or of none: what Prometheus says of itself need not have a cluster."""

NODE = f'{CLUSTER},instance="$instance"'
RECORDED_NODE = f'{FLEET},instance="$instance"'

JOULES_PER_KILOWATT_HOUR = 3_600_000


@dataclasses.dataclass(frozen=True)
class Expr:
    """An expression, Grafana's unit of its value, and the help of the metrics it reads."""

    text: str
    unit: str
    help: tuple[str, ...] = ()

    def __add__(self, other: Expr) -> Expr:
        """Add series with the same labels."""
        return Expr(f"{self.text} + {other.text}", self.unit, self.help + other.help)

    def __sub__(self, other: Expr) -> Expr:
        """Subtract series with the same labels."""
        return Expr(f"{self.text} - {other.text}", self.unit, self.help + other.help)

    def __or__(self, other: Expr) -> Expr:
        """Take the other's series where this has none with their labels."""
        return Expr(f"{self.text} or {other.text}", self.unit, self.help + other.help)

    def __rmul__(self, factor: int) -> Expr:
        """Multiply; times one changes nothing, so it is not written."""
        return self if factor == 1 else Expr(f"{factor} * {self.text}", self.unit, self.help)


def node(name: str, **labels: str | tuple[str, ...]) -> Expr:
    """Return a metric's series on this node, with labels of one value or one of several.

    Raises UnknownMetricError for a metric, a label or a value that the catalogue does not have.
    """
    # No recorded series has the scrape job's name.
    return select(name, RECORDED_NODE if ":" in name else NODE, **labels)


def fleet(name: str, **labels: str | tuple[str, ...]) -> Expr:
    """Return a recorded series of what is chosen, with labels of one value or of several.

    That is the clusters, and for series of a place the sites.
    """
    return select(name, SITE if name.partition(":")[0] in PLACES else FLEET, **labels)


def select(name: str, matchers: str, **labels: str | tuple[str, ...]) -> Expr:
    """Return a metric's series that some matchers choose, and labels of one value or of several.

    Raises UnknownMetricError for a metric, a label or a value that there is not.
    """
    metric = known(name)
    all_of = [matchers]
    for label, wanted in labels.items():
        values = (wanted,) if isinstance(wanted, str) else wanted
        if metric.labels and label not in metric.labels:
            raise UnknownMetricError(f"{name} has no label {label}")
        if metric.values and not metric.values.issuperset(values):
            raise UnknownMetricError(f"{name} has no {label} among {', '.join(values)}")
        operator = "=" if len(values) == 1 else "=~"
        all_of.append(f'{label}{operator}"{"|".join(values)}"')
    return Expr(f"{name}{{{','.join(all_of)}}}", metric.unit, (metric.help,))


def where(template: str, *parts: Expr, unit: str | None = None) -> Expr:
    """Return PromQL in which ``{0}``, ``{1}`` and so on stand for expressions.

    Its unit is the first's, where no other is given.
    For what has no word of its own here: comparisons, joins, arithmetic.
    """
    help_ = tuple(text for part in parts for text in part.help)

    def part(found: re.Match[str]) -> str:
        place = int(found[1])
        return parts[place].text if place < len(parts) else found[0]

    text = re.sub(r"\{([0-9]+)\}", part, template)
    return Expr(text, parts[0].unit if unit is None else unit, help_)


def worst(count: int, of: Expr, *, lowest: bool = False) -> Expr:
    """Return the series with the highest values, or with the lowest."""
    word = "bottomk" if lowest else "topk"
    return dataclasses.replace(of, text=f"{word}({count}, {of.text})")


def rate(counter: Expr) -> Expr:
    """Return a counter's increase per second."""
    text = f"rate({counter.text}[$__rate_interval])"
    return Expr(text, PER_SECOND[counter.unit], counter.help)


def increase(counter: Expr) -> Expr:
    """Return a counter's increase over the time that the dashboard shows."""
    return dataclasses.replace(counter, text=f"increase({counter.text}[$__range])")


def aggregate(function: str, of: Expr, *by: str) -> Expr:
    """Aggregate, to one value or to one for each value of some labels."""
    how = f"{function} by ({', '.join(by)}) " if by else function
    return dataclasses.replace(of, text=f"{how}({of.text})")


def kilowatt_hours(joules: Expr) -> Expr:
    """Return an energy in kWh."""
    return Expr(f"{joules.text} / {JOULES_PER_KILOWATT_HOUR}", units.KiloWattHour, joules.help)


def called(label: str, of: Expr) -> Expr:
    """Give series without a label a word for it, where nothing is opened by it."""
    text = f'label_replace({of.text}, "{label}", "(none)", "{label}", "")'
    return dataclasses.replace(of, text=text)


def zero_where_absent(of: Expr) -> Expr:
    """Return 0 where a sum over the node has nothing to sum."""
    return dataclasses.replace(of, text=f"({of.text} or vector(0))")


def coded(
    name: str,
    label: str,
    codes: Mapping[str, int],
    *by: str,
    of: Callable[..., Expr] = node,
) -> Expr:
    """Return a state metric as the highest number among the states that hold; 0 where none does.

    ``codes`` gives the states their numbers; those numbered 0 and those left out count as none.
    ``of`` selects the metric's series: a node's, where nothing else is said. Of an enumeration the
    good state alone is always there: it stands for itself, with whatever number it has.
    """
    good = known(name).good
    numbers = sorted(
        {number for state, number in codes.items() if number or state == good}, reverse=True
    )
    groups = {n: tuple(state for state in codes if codes[state] == n) for n in numbers}
    first, *rest = (n * of(name, **{label: states}) for n, states in groups.items())
    every = first
    for one in rest:
        every = every | one
    return dataclasses.replace(aggregate("max", every, *by), help=first.help)
