"""``gpumon metrics``."""

from __future__ import annotations

from pathlib import Path

import click

from gpumon.cli.base import declare, output
from gpumon.cli.printing import say


@declare(
    "metrics",
    "gpumon metrics\n"
    "gpumon metrics --tier core\n"
    "gpumon metrics -o json > metrics.json\n"
    "gpumon metrics --diff metrics.json\n"
    "gpumon metrics -o schema",
)
@output(
    "table",
    "json",
    "markdown",
    "schema",
    text="Format: markdown is docs/metrics.md; schema is docs/schema.json, which describes what "
    "every command prints with -o json.",
)
@click.option(
    "--tier",
    type=click.Choice(["core", "standard", "full"]),
    default="full",
    show_default=True,
    help="List only the metrics up to this tier.",
)
@click.option(
    "--diff",
    "old",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="List the differences from a list that another version wrote with -o json.",
)
def metrics(form: str, tier: str, old: Path | None) -> int:
    """List the metrics: name, type, unit, meaning.

    With --diff it exits with 1 if a metric is gone or has changed so that queries break.
    """
    if old is not None:
        if form != "table":
            raise click.UsageError("--diff prints lines: leave out -o")
        return _diff(old, tier)
    if form == "schema":
        from gpumon.documents.schema import schema
        from gpumon.documents.write import json_of

        click.echo(json_of(schema(), pretty=True))
        return 0
    from gpumon.model import Tier
    from gpumon.views import metrics as catalogue

    click.echo(catalogue.render(form, Tier[tier.upper()]), nl=False)
    return 0


def _diff(file: Path, tier: str) -> int:
    from gpumon.documents.read import parse
    from gpumon.errors import UsageError
    from gpumon.model import Tier
    from gpumon.views import metrics as catalogue

    try:
        old = parse(file.read_text("utf-8"))
        if isinstance(old, dict):  # earlier versions wrote the list by itself
            old = old["metrics"]
        known = [metric for metric in old if Tier[metric["tier"].upper()] <= Tier[tier.upper()]]
        lines = catalogue.differences(known, catalogue.listed(Tier[tier.upper()]))
    except (ValueError, TypeError, KeyError, AttributeError):
        old = []
    if not old:
        raise UsageError(
            f"{file} is not a list of metrics", "write one with gpumon metrics -o json"
        )
    for line in lines:
        say(line)
    broken = [line for line in lines if not line.startswith("new")]
    say(f"{len(broken)} gone or changed, {len(lines) - len(broken)} new")
    return 1 if broken else 0


command = metrics
