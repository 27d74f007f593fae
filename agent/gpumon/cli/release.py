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
    help="Take the GPUs up again after this: 90s, 30m, 2h.  [default: only gpumon resume does]",
)
@option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The running agent's state folder.  [default: the service's, else this user's]",
)
def release(duration: str | None, state_dir: Path | None) -> int:
    """Have this machine's agent let go of the GPUs, so that one can be reset.

    A handle that is held blocks a reset, and a reload of the driver. While released the agent goes
    on answering, says so on every GPU, and reads nothing. Ends with 3 where it cannot let go.
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
