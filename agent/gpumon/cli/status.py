"""``gpumon status``."""

from __future__ import annotations

import typing

import click

from gpumon.cli.base import Seconds, declare, output
from gpumon.cli.completing import models
from gpumon.cli.thresholds import thresholds_option
from gpumon.cli.watch import again, watch
from gpumon.views.orders import GPU_ORDERS

if typing.TYPE_CHECKING:
    from gpumon.thresholds import Thresholds


@declare(
    "status",
    "gpumon status\n"
    "gpumon status node17 -o json\n"
    "gpumon status node17 node18 node19\n"
    "gpumon status prom:http://prometheus:9090\n"
    "gpumon status --sort margin --gpu 0,3\n"
    "gpumon status replay:power.csv.gz,gpus=8\n"
    "gpumon status -w 2",
)
@click.argument("targets", metavar="[TARGET]...", nargs=-1, shell_complete=models)
@thresholds_option("A site's own thresholds (TOML).  [default: those of the agents]")
@output("table", "json", "csv", "ndjson", "prom")
@watch
@click.option(
    "--sort",
    type=click.Choice(GPU_ORDERS),
    default="worst",
    show_default=True,
    help="Order of the GPUs in the table.",
)
@click.option("--gpu", "gpus", metavar="INDEX|UUID,…", help="Show only these GPUs.")
@click.option(
    "--timeout",
    type=Seconds(min=0.1, max=600),
    metavar="SECONDS",
    help="How long each of several nodes, or Prometheus, may take to respond.  [default: 5]",
)
@click.option(
    "--most",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="How many nodes and racks of a fleet to show; 0 is all.",
)
def status(
    targets: tuple[str, ...],
    thresholds: Thresholds | None,
    form: str,
    seconds: float | None,
    sort: str,
    gpus: str | None,
    timeout: float | None,
    most: int,
) -> int:
    """Show whether anything is wrong, and every GPU once (the default command).

    TARGET is this machine if you leave it out (its agent if one runs, else the driver). Otherwise
    it is HOST[:PORT] or the URL of an agent, sim:SPEC (sim:8xH100), replay:FILE, or prom:URL for a
    whole fleet by its Prometheus. Several agents are asked at once.
    """
    from gpumon.errors import UsageError
    from gpumon.views.select import split

    names = split(gpus)
    fleets = [target for target in targets if target.startswith("prom:")]
    if fleets and len(targets) > 1:
        raise UsageError("prom: is a whole fleet, not one node among others", "name it alone")
    if (fleets or len(targets) > 1) and names:
        raise UsageError("--gpu works with one node only", "name one node with it")
    if fleets:
        look = _fleet(fleets[0], form, timeout, most)
    elif len(targets) > 1:
        look = _nodes(targets, form, timeout, thresholds)
    else:
        return _node(targets[0] if targets else None, thresholds, form, seconds, sort, names)
    return again(look, seconds)


def _node(
    target: str | None,
    thresholds: Thresholds | None,
    form: str,
    seconds: float | None,
    sort: str,
    gpus: tuple[str, ...],
) -> int:
    from gpumon.targets.target import open_target
    from gpumon.views.select import only

    with open_target(
        target, at_once=seconds is None, interval=seconds or 1.0, thresholds=thresholds
    ) as source:

        def look(first: bool) -> int:
            snapshot = only(source.read(), gpus)
            if form == "table":
                from gpumon.views import status as view
                from gpumon.views.console import make_console

                view.show(make_console(), snapshot, source.thresholds(), sort=sort)
            else:
                from gpumon.views import records

                click.echo(records.render(snapshot, form, header=first), nl=False)
            return 0 if snapshot.up else 3  # nothing could be told, and the view says why

        return again(look, seconds)


def _nodes(
    targets: tuple[str, ...], form: str, timeout: float | None, thresholds: Thresholds | None
) -> typing.Callable[[bool], int]:
    from gpumon.targets.several import SEVERAL_SECONDS, ask_all
    from gpumon.views import nodes

    def look(first: bool) -> int:
        seen = ask_all(targets, timeout or SEVERAL_SECONDS, thresholds)
        nodes.write(seen, form, header=first)
        return 0 if all(each.snapshot and each.snapshot.up for each in seen) else 3

    return look


def _fleet(
    target: str, form: str, timeout: float | None, most: int
) -> typing.Callable[[bool], int]:
    from gpumon.prometheus import fleet
    from gpumon.prometheus.api import PrometheusApi
    from gpumon.views import fleet as view

    def look(_first: bool) -> int:
        with PrometheusApi(target.removeprefix("prom:"), timeout or fleet.ANSWER_SECONDS) as api:
            view.write(fleet.read(api), form, most)
        return 0

    return look


command = status
