"""The fleet in a few numbers: GPUs expected, up, held, active and missing."""

from __future__ import annotations

from dashboards.kit.promql import Expr, aggregate, fleet, where

SICK = ("lost", "hung", "reset_required", "error")
"""States of a GPU that does not answer though nobody let go of it."""

STATES = (*SICK, "released", "ok")

BY_NODE = ("cluster", "instance")


def total(name: str, **labels: str | tuple[str, ...]) -> Expr:
    """Return a recorded series of clusters as one number."""
    return aggregate("sum", fleet(f"cluster:{name}", **labels))


def by_node(name: str, **labels: str | tuple[str, ...]) -> Expr:
    """Return a recorded series of nodes, one number for each."""
    return aggregate("sum", fleet(f"instance:{name}", **labels), *BY_NODE)


def expected(level: str, *by: str) -> Expr:
    """Return how many GPUs there should be, with those behind agents that do not answer.

    The label keeps the two apart, for either may be absent.
    """
    both = where(
        '{0} or label_replace({1}, "silent", "yes", "", "")',
        fleet(f"{level}:gpumon_gpus_expected:sum"),
        fleet(f"{level}:gpumon_gpus_silent:sum"),
    )
    return aggregate("sum", both, *by)


EXPECTED = expected("cluster")
ASKED = total("gpumon_gpus_expected:sum")
"""Those expected behind agents that answer."""

UP = total("gpumon_gpus_up:sum")
RELEASED = total("gpumon_gpus_released:sum")
HELD = total("gpumon_gpus_held:count")
ACTIVE = total("gpumon_gpus_active:count")

MISSING = where(
    "clamp_min({0} - ({1} or vector(0)) - ({2} or vector(0)), 0)", EXPECTED, UP, RELEASED
)
"""Neither answering nor released on purpose; also those behind silent agents."""

GONE = where(
    "clamp_min({0} - ({1} or 0 * {0}), 0)",
    ASKED,
    total("gpumon_gpus_in_state:count", state=STATES),
)
"""In no state at all, though the agent answers: the driver does not show them."""

HELD_IDLE = where("clamp_min({0} - {1}, 0)", HELD, ACTIVE)
FREE = where("clamp_min({0} - {1}, 0)", UP, HELD)
"""A lost GPU that a job still holds counts as held."""

BY_USE = {"active": ACTIVE, "held, idle": HELD_IDLE, "free": FREE}
