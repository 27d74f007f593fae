"""``gpumon metrics``."""

from __future__ import annotations

import click

from gpumon.cli.base import declare, output


@declare(
    "metrics",
    "gpumon metrics\ngpumon metrics --tier core\ngpumon metrics -o json\ngpumon metrics -o schema",
)
@output(
    "table",
    "json",
    "markdown",
    "schema",
    text="How to write it; docs/metrics.md is the markdown, docs/schema.json the schema of what"
    " every command prints with -o json.",
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
    if form == "schema":
        import json

        from gpumon.views.schema import schema

        click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))
        return
    from gpumon.model import Tier
    from gpumon.views import catalogue

    click.echo(catalogue.render(form, Tier[tier.upper()]), nl=False)


command = metrics
