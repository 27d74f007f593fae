"""``gpumon events``."""

from __future__ import annotations

import typing
from pathlib import Path

import click

from gpumon.cli.base import declare, moment, output, state_file

if typing.TYPE_CHECKING:
    from gpumon.statedb.events import Event


@declare(
    "events",
    "gpumon events\n"
    "gpumon events --since 24h --kind xid,state\n"
    "gpumon events --gpu 3 -o json\n"
    "gpumon events --follow",
)
@click.option(
    "--since",
    default="7d",
    show_default=True,
    metavar="WHEN",
    help="Start: 24h or 30d back, or a time such as 2026-11-01T00:00Z.",
)
@click.option("--until", metavar="WHEN", help="End, in the same form.  [default: now]")
@click.option("--gpu", metavar="INDEX|UUID", help="Only this GPU.")
@click.option("--kind", "kinds", metavar="KIND,…", help="Only these kinds.  [default: all]")
@click.option("-f", "--follow", is_flag=True, help="Go on with new events, until Ctrl-C.")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The agent's state folder.  [default: the service's, else this user's]",
)
@click.option(
    "--source", default="nvml", show_default=True, help="The source whose events to list."
)
@output("table", "json", "ndjson", "csv")
def events(
    since: str,
    until: str | None,
    gpu: str | None,
    kinds: str | None,
    state_dir: Path | None,
    source: str,
    form: str,
    *,
    follow: bool,
) -> None:
    """List what happened on this node: Xids, states, resets, drivers, jobs, orders.

    The events come from the state folder of this machine's agent; no server is needed.
    """
    import time

    from gpumon.statedb.events import load_events
    from gpumon.views.events import about

    path = state_file(state_dir, source)
    wanted = _kinds(kinds)
    now = time.time()
    first = moment(since, now, "--since")
    last = float("inf") if until is None else moment(until, now, "--until")
    found = about(load_events(path, first, last), gpu, wanted)
    _write(found, form)
    while follow:
        time.sleep(1.0)
        seen = set(found)
        more = [e for e in about(load_events(path, first, last), gpu, wanted) if e not in seen]
        found += more
        if more:
            _write(more, form)


def _kinds(text: str | None) -> tuple[str, ...]:
    from gpumon.errors import UsageError, hint
    from gpumon.views.events import KINDS

    if text is None:
        return KINDS
    wanted = tuple(text.split(","))
    for kind in wanted:
        if kind not in KINDS:
            raise UsageError(
                f"--kind {kind!r} is not known", f"known are {', '.join(KINDS)}{hint(kind, KINDS)}"
            )
    return wanted


def _write(found: list[Event], form: str) -> None:
    from gpumon.views.console import make_console
    from gpumon.views.events import show, to_text

    if form != "table":
        click.echo(to_text(found, form), nl=False)
    elif found:
        show(make_console(), found)
    else:
        click.echo("nothing happened in this span")


command = events
