"""``gpumon release``."""

from __future__ import annotations

from pathlib import Path

import click

from gpumon.cli.base import declare, give_order, option


@declare("release", "gpumon release --for 30m\nsudo gpumon release --state-dir /var/lib/gpumon")
@click.option(
    "--for",
    "duration",
    metavar="TIME",
    help="Take the GPUs back after this time: 90s, 30m, 2h.  [default: not until gpumon resume]",
)
@option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The running agent's state folder.  [default: the service's, else this user's]",
)
def release(duration: str | None, state_dir: Path | None) -> int:
    """Make this machine's agent release the GPUs, so that one can be reset.

    An open handle blocks a reset and a reload of the driver. While the GPUs are released the agent
    still replies and shows every GPU as released, but reads nothing. Exits with 3 if the agent
    cannot release them.
    """
    from gpumon.errors import UsageError
    from gpumon.times import parse_duration

    try:
        seconds = None if duration is None else parse_duration(duration)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    if seconds is not None and seconds <= 0:
        raise UsageError("--for: a time above 0", "for example 30m")
    return give_order({"order": "release", "seconds": seconds}, state_dir)


command = release
