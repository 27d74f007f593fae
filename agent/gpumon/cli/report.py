"""``gpumon report``."""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Iterator
from pathlib import Path

import click

from gpumon.cli.base import declare, moment, output, state_file
from gpumon.cli.thresholds import chosen, thresholds_option

if typing.TYPE_CHECKING:
    from gpumon.ledger.hours import Hours, Progress
    from gpumon.report.gather import Gathered
    from gpumon.report.meter import Reconciliation
    from gpumon.report.render import Sheet
    from gpumon.report.sums import Terms
    from gpumon.site.config import Site
    from gpumon.thresholds import Thresholds


@declare(
    "report",
    "gpumon report --since 30d --by user\n"
    "gpumon report --by job --price 0.28 --currency EUR --carbon 350\n"
    "gpumon report prom:http://prometheus:9090 --since 30d --by rack -o html > report.html\n"
    "gpumon report replay:day.jsonl.gz --meter pdu.csv\n"
    "gpumon report job 4711",
)
@click.argument("words", nargs=-1, metavar="[TARGET] [job ID]")
@click.option(
    "--by",
    type=click.Choice(["job", "user", "account", "partition", "node", "rack", "gpu"]),
    default="job",
    show_default=True,
    help="What to sum by: one row for each job, user, account, …",
)
@click.option(
    "--since",
    default="24h",
    show_default=True,
    metavar="WHEN",
    help="Start: 24h or 30d back, or a time such as 2026-11-01T00:00Z.",
)
@click.option("--until", metavar="WHEN", help="End, in the same form.  [default: now]")
@click.option(
    "--boundary",
    type=click.Choice(["gpu", "node", "facility"]),
    default="gpu",
    show_default=True,
    help="What is charged: GPUs, whole nodes, or nodes times PUE.",
)
@click.option(
    "--site",
    "site_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A site.toml with price, carbon, PUE and racks; the options below take precedence.",
)
@click.option(
    "--price", metavar="NUMBER|FILE", help="Price of a kWh, or a CSV of hours: time,price."
)
@click.option("--currency", default="", metavar="WORD", help="Currency of the price.")
@click.option("--carbon", metavar="NUMBER|FILE", help="Grams of CO2e per kWh, or a CSV of hours.")
@click.option(
    "--pue", metavar="NUMBER|FILE", help="Facility energy over node energy, or a CSV of hours."
)
@click.option(
    "--meter", metavar="FILE|QUERY", help="Compare with a meter: a CSV, or a query for watts."
)
@click.option(
    "--meter-error",
    type=click.FloatRange(0, 0.5),
    default=0.01,
    show_default=True,
    help="Error of the meter, as a ratio.",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The agent's state folder.  [default: the service's, else this user's]",
)
@click.option(
    "--source", default="nvml", show_default=True, help="The source whose ledger to read."
)
@thresholds_option(
    "A site's own thresholds (TOML): what counts as idle in a recording. For the ledger and for "
    "prom:URL the agents have already decided that."
)
@output("table", "json", "csv", "html")
def report(
    words: tuple[str, ...],
    thresholds: Thresholds | None,
    by: str,
    since: str,
    until: str | None,
    boundary: str,
    site_file: Path | None,
    price: str | None,
    currency: str,
    carbon: str | None,
    pue: str | None,
    meter: str | None,
    meter_error: float,
    state_dir: Path | None,
    source: str,
    form: str,
) -> None:
    """Report who used how many joules and GPU hours, and what they cost.

    The numbers come from the ledger of this machine's agent, from a Prometheus (prom:URL) or from a
    recording (replay:FILE). Prices and carbon are applied now, hour by hour, so you can repeat a
    bill with other prices.
    """
    from gpumon.config import node_name
    from gpumon.ledger.hours import placed
    from gpumon.report.asking import Scope
    from gpumon.report.gather import Wanted, gather
    from gpumon.report.render import Sheet
    from gpumon.report.sums import make_report, of_job

    target, job_id = _words(words)
    first, last = _span(since, until)
    site = _site(site_file)
    terms = _terms(boundary, site, price, carbon, pue)
    wanted = Wanted(
        target=target,
        since=first,
        until=last,
        memory=state_file(state_dir, source),
        node=node_name(),
        scope=Scope(
            hourly=form == "html" or meter is not None or _by_the_hour(terms),
            by_gpu=by == "gpu",
            job_id=job_id,
        ),
        active_ratio=chosen(thresholds).number("activity.idle_ratio"),
    )
    with _progress() as progress:
        gathered = gather(wanted, progress)
    hours = placed(gathered.hours, {node.node: node.target_labels("") for node in site.nodes})
    if job_id is not None:
        hours = _only(job_id, of_job(hours, job_id, recorded=gathered.fine is not None))
        by = "node" if target.startswith("prom:") else "gpu"
    made = make_report(hours, by, gathered.since, gathered.until, terms)
    _check_boundary(made.host_known_ratio, terms)
    curve = gathered.fine.curve if gathered.fine else None
    sheet = Sheet(
        report=made,
        source=target or source,
        job=next((row.job for row in hours.rows), None) if job_id is not None else None,
        currency=currency or ("" if price else site.currency),
        meter=_against(meter, meter_error, target, gathered, terms) if meter else None,
        recorded=(curve.since, curve.until) if curve else None,
    )
    _write(sheet, form)


def _against(
    meter: str, meter_error: float, target: str, gathered: Gathered, terms: Terms
) -> Reconciliation:
    """Return what was gathered against what a meter measured over the same time."""
    from gpumon.report.gather import metered, reckoned
    from gpumon.report.meter import reconcile

    theirs = metered(meter, target, gathered.since, gathered.until)
    return reconcile(reckoned(gathered, terms), theirs, meter, meter_error)


def _words(words: tuple[str, ...]) -> tuple[str, str | None]:
    """Return the target, which may be empty, and the job that is asked for."""
    from gpumon.errors import UsageError

    target = ""
    if words and ":" in words[0]:
        target, *rest = words
        words = tuple(rest)
    if not words:
        return target, None
    if len(words) != 2 or words[0] != "job":
        raise UsageError(
            f"gpumon report {' '.join(words)}",
            "write gpumon report [prom:URL|replay:FILE] [job ID]",
        )
    return target, words[1]


def _span(since: str, until: str | None) -> tuple[int, int]:
    """Return the hours since 1970 that are asked for, the last excluded."""
    import time

    from gpumon.errors import UsageError
    from gpumon.times import format_time

    now = time.time()
    first = int(moment(since, now, "--since") // 3600)
    last = -int(-(now if until is None else moment(until, now, "--until")) // 3600)
    if last <= first:
        raise UsageError(
            f"nothing lies between {format_time(first * 3600)} and {format_time(last * 3600)}",
            "--since must be before --until",
        )
    return first, last


def _site(path: Path | None) -> Site:
    from gpumon.site.config import Site, load_site

    return Site() if path is None else load_site(path)


def _terms(
    boundary: str, site: Site, price: str | None, carbon: str | None, pue: str | None
) -> Terms:
    from gpumon.errors import UsageError
    from gpumon.report.sums import Terms
    from gpumon.site.factors import parse_factor

    if boundary == "facility" and pue is None and site.pue is None:
        raise UsageError("--boundary facility needs a PUE", "give it with --pue 1.25 or --site")
    return Terms(
        boundary=boundary,
        price=parse_factor(price, "--price") if price else site.price,
        carbon=parse_factor(carbon, "--carbon") if carbon else site.carbon,
        pue=parse_factor(pue, "--pue") if pue else site.pue,
    )


def _by_the_hour(terms: Terms) -> bool:
    """Return whether anything depends on the hour."""
    return any(factor and factor.varies for factor in (terms.price, terms.carbon, terms.pue))


def _check_boundary(known: float, terms: Terms) -> None:
    from gpumon.errors import UnavailableError

    if terms.boundary != "gpu" and not known:
        raise UnavailableError(
            "nothing is known of what nodes draw beyond their GPUs in this span",
            "it needs a BMC, a power meter or --node-overhead-watts on the agents; see "
            "docs/energy.md",
        )


def _only(job_id: str, hours: Hours) -> Hours:
    """Return a job's hours; UnavailableError if there are none."""
    from gpumon.errors import UnavailableError

    if not hours.rows:
        raise UnavailableError(
            f"job {job_id} has no hours in this span", "look further back with --since 30d"
        )
    return hours


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """Show a bar on a terminal's standard error; nothing elsewhere."""
    import rich.progress
    from rich.console import Console

    from gpumon.ledger.hours import silent

    console = Console(stderr=True)
    if not console.is_terminal:
        # Older versions of rich end a bar that is not shown with an empty line.
        yield silent
        return
    with rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("asking")
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _write(sheet: Sheet, form: str) -> None:
    from gpumon.report import html, render
    from gpumon.views.console import make_console

    if form == "table":
        render.to_table(make_console(), sheet)
    else:
        write = {"json": render.to_json, "csv": render.to_csv, "html": html.to_html}[form]
        click.echo(write(sheet), nl=False)


command = report
