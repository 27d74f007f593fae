"""The steps of install and uninstall, carried out or only listed: a line each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpumon.cli.printing import say
from gpumon.errors import UnavailableError

if TYPE_CHECKING:
    from gpumon.install.steps import Step


def carry_out(steps: Sequence[Step], *, is_root: bool, dry_run: bool) -> None:
    """Do the steps and say so, one line each, or say what would be done.

    Raises UnavailableError if the user may not do this, and at the first step that fails. What was
    done before stays, and another run goes on from there.
    """
    if not is_root and not dry_run:
        raise UnavailableError("only root may do that", "use sudo, or preview it with --dry-run")
    for step in steps:
        do, did = step.words
        if not dry_run:
            try:
                step.carry_out(Path("/"))
            except OSError as error:
                raise UnavailableError(
                    f"cannot {do} {step.what} ({error.strerror})", "fix that and run this again"
                ) from None
        say(f"{f'would {do}' if dry_run else did} {step.what}")
