# ruff: noqa: INP001 - PBS imports this file into itself; it is in no package
"""PBS hook: runs gpumon's prologue.sh and epilogue.sh on every host of a job.

For OpenPBS and PBS Professional. A prologue and an epilogue run on the job's first host only, and
not at all if a hook has that event: the hook pbs_cgroups has execjob_epilogue, so it keeps the
epilogue from running (src/resmom/catch_child.c in github.com/openpbs/openpbs). This hook runs at
execjob_begin, after pbs_cgroups, whose order is 100, has chosen the job's GPUs; and at the job's
end. docs/workloads.md has the qmgr commands.

Never rejects a job, whatever happens. It runs in the Python that PBS brings, 3.6 or later.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import pbs

FOLDER = Path(os.environ.get("GPUMON_PBS_FOLDER", "/usr/local/libexec/gpumon-pbs"))
"""The folder of prologue.sh and epilogue.sh."""

DEADLINE_SECONDS = 15
"""PBS ends a hook after 30 s (its attribute alarm), and fails the job."""


def _text(value: Any) -> str:
    """Return an attribute of a job as a word: one that is not set is None."""
    return "" if value is None else str(value)


def _command(event: Any) -> "list[str]":
    """Return what to run: with the arguments that Torque documents, of which PBS gives three."""
    job = event.job
    whose = [_text(job.id), _text(job.euser), _text(job.egroup)]
    if event.type == pbs.EXECJOB_BEGIN:
        more = [_text(job.Job_Name), "", _text(job.queue), _text(job.Account_Name)]
        return [str(FOLDER / "prologue.sh"), *whose, *more]
    return [str(FOLDER / "epilogue.sh"), *whose]


def _environment() -> "dict[str, str]":
    """Return this process's environment, with PBS's own folders."""
    settings = pbs.get_pbs_conf() or {}
    homes = {name: settings[name] for name in ("PBS_HOME", "PBS_MOM_HOME") if name in settings}
    return dict(os.environ, **homes)


try:
    done = subprocess.run(
        _command(pbs.event()),
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    said = done.stderr.decode("utf-8", "replace").strip()
    if said:
        pbs.logmsg(pbs.LOG_WARNING, said)
except Exception as error:  # noqa: BLE001 - whatever it is, the job must not fail for it
    pbs.logmsg(pbs.LOG_WARNING, f"gpumon: {type(error).__name__}: {error}")
pbs.event().accept()
