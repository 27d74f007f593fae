"""``gpumon simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpumon.cli.base import Finite, declare, option
from gpumon.cli.thresholds import in_site, thresholds_option

if TYPE_CHECKING:
    from gpumon.thresholds import Thresholds


@declare(
    "simulate",
    "gpumon simulate --nodes 1000\n"
    "gpumon simulate --site site.toml --model B200\n"
    "gpumon simulate --fault xid=79@n0003:2 --fault hot=30@rack:r001,start=60s,for=10m\n"
    "gpumon simulate --list-faults",
)
@option("--nodes", type=click.IntRange(1), metavar="N", help="How many nodes.  [default: 8]")
@option("--gpus", type=click.IntRange(1), default=8, metavar="N", help="GPUs of each node.")
@option("--model", default="H100", metavar="MODEL", help="A100, H100, H200, B200 or GB200.")
@option(
    "--site",
    "site",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The nodes, places and budgets of a site.toml, in place of --nodes.",
)
@option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    help="Seed of the random numbers: the same seed gives the same run.",
)
@option(
    "--speed",
    type=Finite(min=0.01, max=600),
    default=1.0,
    metavar="X",
    help="Simulated seconds for each real second; Prometheus then shows other rates and ages.",
)
@option(
    "--start",
    metavar="TIME",
    help="Simulated time at the start, such as 2026-11-01T08:00Z.  [default: now]",
)
@option(
    "--tier",
    type=click.Choice(["core", "standard", "full"]),
    default="standard",
    help="How much is exposed: see gpumon metrics.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="A fault to begin with; repeat the option for more.",
)
@click.option(
    "--faults",
    "schedule",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File of faults, one on each line; # begins a comment.",
)
@click.option("--list-faults", is_flag=True, help="List the kinds of faults and exit.")
@option(
    "--web.listen-address",
    "listen_address",
    default="127.0.0.1:9844",
    metavar="ADDRESS",
    help="HOST:PORT, :PORT or [IPv6]:PORT to serve on.",
)
@thresholds_option(
    "The thresholds (TOML) of the nodes' agents, in place of those that site.toml names."
)
@click.pass_context
def simulate(
    ctx: click.Context,
    nodes: int | None,
    gpus: int,
    model: str,
    site: Path | None,
    seed: int,
    speed: float,
    start: str | None,
    tier: str,
    faults: tuple[str, ...],
    schedule: Path | None,
    listen_address: str,
    thresholds: Thresholds | None,
    *,
    list_faults: bool,
) -> None:
    """Serve a simulated fleet, with faults on demand, to Prometheus.

    Each node's metrics are at /nodes/NAME/metrics, the list of targets at /sd, the site's facts at
    /site/metrics; POST to /faults to break something. Everything is marked as simulated.
    """
    import asyncio
    import dataclasses
    import logging

    from gpumon.simulate.faults import KINDS

    if list_faults:
        width = max(map(len, KINDS))
        for name, kind in KINDS.items():
            given = "" if kind.default is None else f" ={kind.default}"
            click.echo(f"{name:{width}}  {kind.scope.value:4}  {kind.help}{given}")
        return

    from gpumon.clock import SYSTEM
    from gpumon.logs import configure_logging
    from gpumon.model import Tier
    from gpumon.simulate.fleet import SimFleet
    from gpumon.simulate.fleetplan import plan_fleet
    from gpumon.simulate.service import serve_fleet
    from gpumon.web.listen import bind, parse_listen_address, url_of

    plan = plan_fleet(nodes=nodes, gpus=gpus, model=model, seed=seed, site=site)
    plan = dataclasses.replace(plan, site=in_site(ctx, thresholds, plan.site))
    opening = _start(start)
    configure_logging(debug=bool(ctx.parent and ctx.parent.params["debug"]))
    with bind(parse_listen_address(listen_address)) as sock:
        fleet = SimFleet(plan, SYSTEM, start=opening, speed=speed)
        fleet.add_faults([*faults, *_lines(schedule)])
        logging.getLogger("gpumon").info("SIMULATED: %d nodes on %s", len(plan.nodes), url_of(sock))
        asyncio.run(serve_fleet(fleet, sock, Tier[tier.upper()]))


def _start(text: str | None) -> float | None:
    from gpumon.errors import UsageError
    from gpumon.times import parse_time

    try:
        return None if text is None else parse_time(text)
    except ValueError:
        raise UsageError(f"--start {text!r}", "write a time such as 2026-11-01T08:00Z") from None


def _lines(schedule: Path | None) -> list[str]:
    from gpumon.errors import UnavailableError

    if schedule is None:
        return []
    try:
        text = schedule.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"cannot read {schedule} ({error})", "name another") from None
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


command = simulate
