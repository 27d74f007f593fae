"""GPU: which series are of the one that is chosen."""

from __future__ import annotations

from dashboards.kit.promql import FLEET, NODE, Expr, select, where

GPU = f'{NODE},gpu="$gpu"'


def gpu(name: str, **labels: str | tuple[str, ...]) -> Expr:
    """Return a metric's series of this GPU."""
    return select(name, GPU, **labels)


def recorded(name: str) -> Expr:
    """Return a recorded series of this GPU: those know it by ``uuid`` only."""
    return where(
        "({0} and on (cluster, instance, uuid) {1})",
        select(name, f'{FLEET},instance="$instance"'),
        gpu("gpumon_gpu_up"),
    )


def new(counter: Expr) -> Expr:
    """Return how many of something rare were new at each point."""
    return where("increase({0}[$__rate_interval])", counter)
