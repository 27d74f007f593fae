"""``gpumon report``."""

from __future__ import annotations

import typing
from pathlib import Path

import click

from gpumon.cli.base import SERVICE_STATE_DIR, declare, default_state_dir

if typing.TYPE_CHECKING:
    from gpumon.report.hours import Hours


@declare(
    "report",
    "gpumon report --since 30d --by user\n"
    "gpumon report --by job --price 0.28 --currency EUR --carbon 350\n"
    "gpumon report --price prices.csv -o csv\n"
    "gpumon report job 4711",
)
@click.argument("words", nargs=-1, metavar="[job ID]")
@click.option(
    "--by",
    type=click.Choice(["job", "user", "account", "partition", "gpu"]),
    default="job",
    show_default=True,
    help="Whom to add up.",
)
@click.option(
    "--since",
    default="24h",
    show_default=True,
    metavar="WHEN",
    help="From when: 24h or 30d back, or a time such as 2026-11-01T00:00Z.",
)
@click.option("--until", metavar="WHEN", help="Until when, likewise.  [default: now]")
@click.option("--price", metavar="NUMBER|FILE", help="Of a kWh, or a CSV of hours: time,price.")
@click.option("--currency", default="", metavar="WORD", help="What the price is in.")
@click.option("--carbon", metavar="NUMBER|FILE", help="Grams of CO2e per kWh, or a CSV of hours.")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the agent's memory is.  [default: the service's, else this user's]",
)
@click.option("--source", default="nvml", show_default=True, help="Which source's ledger.")
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to write it.",
)
def report(
    words: tuple[str, ...],
    by: str,
    since: str,
    until: str | None,
    price: str | None,
    currency: str,
    carbon: str | None,
    state_dir: Path | None,
    source: str,
    form: str,
) -> None:
    """Say who used how many joules and GPU hours, and what they cost.

    From the memory of this machine's agent; no server is asked. Prices and carbon are applied now,
    hour by hour, so a bill can be made again with others.
    """
    import time

    from gpumon.report import render
    from gpumon.report.factors import parse_factor
    from gpumon.report.sums import make_report
    from gpumon.times import format_time
    from gpumon.views.table import make_console

    now = time.time()
    first = int(_moment(since, now, "--since") // 3600)
    last = -int(-(now if until is None else _moment(until, now, "--until")) // 3600)
    if last <= first:
        from gpumon.errors import UsageError

        raise UsageError(
            f"nothing lies between {format_time(first * 3600)} and {format_time(last * 3600)}",
            "--since is before --until",
        )
    prices = parse_factor(price, "--price") if price else None
    grams = parse_factor(carbon, "--carbon") if carbon else None
    hours = _hours(state_dir, source, first, last)
    if words:
        hours, by = _of_job(words, hours), "gpu"
    made = make_report(hours, by, first, last, price=prices, carbon=grams)
    if form == "json":
        click.echo(render.to_json(made, currency, source), nl=False)
    elif form == "csv":
        click.echo(render.to_csv(made), nl=False)
    else:
        render.to_table(make_console(), made, currency, source)


def _moment(text: str, now: float, option: str) -> float:
    """Return unix seconds of a time, or of so long ago; UsageError where it is neither."""
    from gpumon.errors import UsageError
    from gpumon.times import parse_duration, parse_time

    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_time(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r}", "write 24h, 30d or a time such as 2026-11-01T00:00Z"
        ) from None


def _hours(state_dir: Path | None, source: str, first: int, last: int) -> Hours:
    from gpumon.agent.statefile import state_file_name
    from gpumon.report.hours import load_hours
    from gpumon.sources.spec import SourceSpec

    name = state_file_name(SourceSpec.parse(source))
    if state_dir is None:
        service = (SERVICE_STATE_DIR / name).exists()
        state_dir = SERVICE_STATE_DIR if service else default_state_dir()
    return load_hours(state_dir / name, first, last)


def _of_job(words: tuple[str, ...], hours: Hours) -> Hours:
    """Return the hours of the job that was asked for; errors where there is none."""
    from gpumon.errors import UnavailableError, UsageError
    from gpumon.report.hours import Hours as Found
    from gpumon.report.sums import of_job

    if len(words) != 2 or words[0] != "job":
        raise UsageError(f"gpumon report {' '.join(words)}", "write gpumon report job ID")
    rows = of_job(hours.rows, words[1])
    if not rows:
        raise UnavailableError(
            f"job {words[1]} has no hours in this span", "look further back with --since 30d"
        )
    return Found(tuple(rows), {})


command = report
