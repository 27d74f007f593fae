"""``gpumon check``."""

from __future__ import annotations

import time
import typing

import click

from gpumon.cli.base import Seconds, declare, output
from gpumon.cli.completing import models
from gpumon.cli.printing import whoever_reads
from gpumon.cli.thresholds import chosen as chosen_thresholds
from gpumon.cli.thresholds import thresholds_option

if typing.TYPE_CHECKING:
    from gpumon.checks import Judgement, Observation
    from gpumon.checks.judgement import Selection
    from gpumon.thresholds import Thresholds

ANSWER_SECONDS = 1.5
"""Within two seconds of being typed, the start of this process and its end included."""


def _names(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete the last of some checks with commas between them."""
    from gpumon.checks.registry import NAMES

    before, comma, last = begun.rpartition(",")
    return [f"{before}{comma}{name}" for name in NAMES if name.startswith(last)]


@declare(
    "check",
    "gpumon check\n"
    "gpumon check node17 --level warn\n"
    "gpumon check --only state,recovery,xid -o json\n"
    "gpumon check --nagios --expected-gpus 8\n"
    "gpumon check --list",
)
@click.argument("target", required=False, shell_complete=models)
@click.option("--only", metavar="CHECK,…", shell_complete=_names, help="Run only these checks.")
@click.option("--skip", metavar="CHECK,…", shell_complete=_names, help="Skip these checks.")
@click.option(
    "--level",
    type=click.Choice(["fail", "warn"]),
    default="fail",
    show_default=True,
    help="What counts as trouble: failures, or warnings too.",
)
@click.option("--gpu", "gpus", metavar="INDEX|UUID,…", help="Check only these GPUs.")
@click.option("--minor", "minors", metavar="N,…", help="Check only /dev/nvidiaN.")
@click.option(
    "--slurm-gpus",
    "slurm_gpus",
    metavar="N,…",
    help="Check only those that a prolog of Slurm has in SLURM_JOB_GPUS: devices of gres.conf.",
)
@click.option(
    "--expected-gpus",
    "expected",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many GPUs this node should have.  [default: what the agent expects]",
)
@thresholds_option("A site's own thresholds (TOML).  [default: those of the agent]")
@click.option(
    "--timeout",
    "seconds",
    type=Seconds(min=0.5, max=60),
    default=ANSWER_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long the agent or the driver may take to respond.",
)
@click.option(
    "--window",
    type=Seconds(min=15, max=60),
    metavar="SECONDS",
    help="Look twice, this far apart, and judge rates too.",
)
@output(
    "table",
    "json",
    "line",
    "nagios",
    text="Format: line is one line that says what is wrong, nagios is a plugin's output.",
)
@click.option("--json", "form", flag_value="json", help="The same as -o json.")
@click.option(
    "--nagios", "form", flag_value="nagios", help="The same as -o nagios: exits with 0, 1, 2 or 3."
)
@click.option("-v", "--verbose", is_flag=True, help="Also show what passed.")
@click.option("--list", "listed", is_flag=True, help="List the checks, without running any.")
def check(
    target: str | None,
    only: str | None,
    skip: str | None,
    level: str,
    gpus: str | None,
    minors: str | None,
    slurm_gpus: str | None,
    expected: int | None,
    thresholds: Thresholds | None,
    seconds: float,
    window: float | None,
    form: str,
    *,
    verbose: bool,
    listed: bool,
) -> int:
    """Judge the GPUs: pass, warn or fail, with the evidence and the next step.

    TARGET is as for gpumon status. Exits with 0 if all is well, 1 if it found trouble, and 3 if a
    GPU could not be judged: see docs/checks.md.
    """
    until = time.monotonic() + seconds
    from gpumon.checks import Level, chosen, judge

    checks = chosen(_words(only), _words(skip))
    if listed:
        from gpumon.views.check import to_list

        click.echo(to_list(checks, form), nl=False)
        return 0
    selection = _selection(gpus, minors, slurm_gpus)
    seen = _look(target, until, window, thresholds, expected)
    report = judge(seen, checks, gpus=selection, level=Level(level))
    return _tell(report, seen, form, verbose=verbose)


def _look(
    target: str | None,
    until: float,
    window: float | None,
    given: Thresholds | None,
    expected: int | None,
) -> Observation:
    """Look at a target once, or twice; what kept it from being seen is part of the observation."""
    from gpumon.checks import Observation
    from gpumon.errors import DriverError, DriverStuckError, UnavailableError
    from gpumon.targets.target import open_target

    snapshot = earlier = None
    thresholds = chosen_thresholds(given)
    try:
        left = max(0.1, until - time.monotonic())
        with open_target(target, at_once=window is None, seconds=left, thresholds=given) as source:
            snapshot = source.read()
            if window is not None:
                earlier = snapshot
                time.sleep(window)
                snapshot = source.read()
            thresholds = source.thresholds()
    except UnavailableError as error:
        # A node that is to have no GPUs needs no driver.
        missed = isinstance(error, DriverError) and bool(expected)
        return Observation(
            snapshot=None,
            problem=str(error),
            broken=missed or isinstance(error, DriverStuckError),
            expected=expected,
            thresholds=thresholds,
        )
    return Observation(snapshot=snapshot, earlier=earlier, expected=expected, thresholds=thresholds)


def _tell(report: Judgement, seen: Observation, form: str, *, verbose: bool) -> int:
    """Write a report in a form, and return the exit code that goes with the form."""
    from gpumon.views import check as views

    with whoever_reads():
        if form == "nagios":
            click.echo(views.to_nagios(report), nl=False)
        elif form == "json":
            click.echo(views.to_json(report, seen, time.time()), nl=False)
        elif form == "line":
            click.echo(views.to_line(report), nl=False)
        else:
            from gpumon.views.console import make_console

            views.show(make_console(), report, seen, verbose=verbose)
    return views.nagios_code(report) if form == "nagios" else report.exit_code


def _words(text: str | None) -> tuple[str, ...]:
    """Return the words of a list with commas."""
    return tuple(word.strip() for word in text.split(",")) if text is not None else ()


def _selection(gpus: str | None, minors: str | None, slurm_gpus: str | None) -> Selection:
    """Return which GPUs are meant; UsageError if a number is none, or UnavailableError."""
    from gpumon.checks.judgement import Selection
    from gpumon.errors import UsageError

    numbers = _words(minors)
    if not all(number.isdecimal() and number.isascii() for number in numbers):
        raise UsageError(f"--minor {minors!r}", "write the numbers of /dev/nvidiaN, as in 0,3")
    names, devices = _of_slurm(slurm_gpus)
    return Selection((*_words(gpus), *names), (*map(int, numbers), *devices))


def _of_slurm(text: str | None) -> tuple[list[str], list[int]]:
    """Return the UUIDs, and the N of /dev/nvidiaN, that a prolog's words mean."""
    words = [word for word in _words(text) if word]
    if not words:
        return [], []
    from gpumon.errors import UnavailableError, UsageError
    from gpumon.workloads.slurm.gres import NotKnownError
    from gpumon.workloads.slurm.gresindex import minors_of

    uuids = [word for word in words if word.startswith(("GPU-", "MIG-"))]
    numbers = [word for word in words if word not in uuids]
    if not all(number.isdecimal() and number.isascii() for number in numbers):
        raise UsageError(f"--slurm-gpus {text!r}", "give it what SLURM_JOB_GPUS has, as in 0,3")
    try:
        return uuids, minors_of(map(int, numbers))
    except NotKnownError as error:
        raise UnavailableError(
            f"which GPUs Slurm means by {','.join(numbers)} is not known ({error})",
            "see docs/workloads.md, or name them by --gpu",
        ) from None


command = check
