"""Commands that are not waited for past their time, whatever they wait for themselves."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Printed:
    """What a command printed, and how it ended; why not, if ``code`` is None."""

    text: str
    code: int | None
    problem: str = ""


def run(argv: Sequence[str], seconds: float) -> Printed:
    """Run a command for at most some seconds.

    ``subprocess.run`` would wait for one that it has killed, and nvidia-smi in a driver that hangs
    does not die of that. One that is late is left alone, to end when its call returns: a process
    that is killed inside a driver's call can freeze its GPU. Its output goes to a file, which
    nobody has to empty.
    """
    with tempfile.TemporaryFile() as file:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": ""},
                start_new_session=True,
            )
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            reason = "is not installed" if missing else f"cannot be run ({error.strerror})"
            return Printed("", None, f"{argv[0]} {reason}")
        problem = ""
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            problem = f"{' '.join(argv)} did not end within {seconds:g} s"
            process.returncode = 0  # not ours to wait for any longer
        file.seek(0)
        text = file.read().decode("utf-8", "replace")
    return Printed(text, None if problem else process.returncode, problem)
