"""``gpumon metrics``."""

from __future__ import annotations

import click

from gpumon.cli.base import declare


@declare("metrics", "gpumon metrics\ngpumon metrics --tier core\ngpumon metrics -o json")
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    help="How to write it; docs/metrics.md is the markdown.",
)
@click.option(
    "--tier",
    type=click.Choice(["core", "standard", "full"]),
    default="full",
    show_default=True,
    help="Only the metrics up to this tier.",
)
def metrics(form: str, tier: str) -> None:
    """List the metrics: name, type, unit, meaning."""
    from gpumon.model import Tier
    from gpumon.views import catalogue

    click.echo(catalogue.render(form, Tier[tier.upper()]), nl=False)


command = metrics
