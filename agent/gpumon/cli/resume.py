"""``gpumon resume``."""

from __future__ import annotations

from pathlib import Path

import click

from gpumon.cli.base import declare, give_order, option


@declare("resume", "gpumon resume")
@option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The running agent's state folder.  [default: the service's, else this user's]",
)
def resume(state_dir: Path | None) -> int:
    """Make this machine's agent take back the GPUs that it released."""
    return give_order({"order": "resume"}, state_dir)


command = resume
