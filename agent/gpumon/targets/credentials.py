"""The user and password with which a target is asked, from the environment: one wording for all."""

from __future__ import annotations

import os
from pathlib import Path

from gpumon.errors import UsageError

USER = "GPUMON_TARGET_USER"
PASSWORD_FILE = "GPUMON_TARGET_PASSWORD_FILE"  # noqa: S105 - a variable's name

NEXT_STEP = f"set {USER} and {PASSWORD_FILE}"
"""What to do when a server asks for a password, or refuses the one it was given."""


def credentials() -> tuple[str, str] | None:
    """Return user and password, or None if none are set; never from a command line, which all see.

    Raises UsageError if the password's file cannot be read.
    """
    user, file = os.environ.get(USER), os.environ.get(PASSWORD_FILE)
    if not user or not file:
        return None
    try:
        return user, Path(file).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"cannot read the password in {file}", f"check {PASSWORD_FILE}") from None
