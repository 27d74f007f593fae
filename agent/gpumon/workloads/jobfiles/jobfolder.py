"""A folder of job files: read on every tick, no matter who writes into it, or what."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import stat
from pathlib import Path
from typing import NamedTuple

from gpumon.clock import SYSTEM, Clock
from gpumon.workloads.held import HeldJob
from gpumon.workloads.jobfiles.jobfile import NotAJobError, parse_job

log = logging.getLogger(__name__)

MOST_JOBS = 10_000
MOST_BYTES = 65_536
"""A job file is some 300 bytes; what is larger was not written by a prolog."""

EARLY_SECONDS = 60.0
"""A job that begins later than this after now has a ``since`` of another unit or another clock."""


class _Stamp(NamedTuple):
    """What changes when a file is written, replaced, or its rights are changed."""

    modified: int
    changed: int
    size: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> _Stamp:
        return cls(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


class JobFolder:
    """The jobs that prologs have written into a folder.

    A file that is not right is skipped, counted once, and logged once with its name; the others
    are read all the same. A folder that cannot be read leaves the last known jobs in force.
    """

    def __init__(self, path: Path, clock: Clock = SYSTEM) -> None:
        """Look into a folder, which need not be there yet."""
        self._clock = clock
        self.path = path
        self.errors = 0
        self._read_once = False
        self._there: bool | None = None
        self._problems: dict[str, str] = {}
        self._files: dict[str, tuple[_Stamp, HeldJob | None]] = {}

    @property
    def problem(self) -> str:
        """What is wrong with the folder or its files, or nothing."""
        if not self._problems:
            return ""
        first, *others = self._problems.values()
        return f"{first} (and {len(others)} more)" if others else first

    @property
    def jobs(self) -> list[HeldJob]:
        """The jobs as they were read last."""
        return [job for _, job in self._files.values() if job is not None]

    def exists(self) -> bool:
        """Return whether there are job files, or a folder for them; raises OSError if unknown."""
        return bool(self._files) or self.path.is_dir()

    def read(self) -> list[HeldJob] | None:
        """Return the jobs; None if there is no folder, or it could never be read."""
        try:
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._there is not False:
                self._there = False
                log.info("there is no folder %s: no prolog has written a job file", self.path)
            self._files, self._problems = {}, {}
            return None
        except OSError as error:
            return self._unreadable(error)
        try:
            self._look(folder)
        except OSError as error:
            return self._unreadable(error)
        finally:
            os.close(folder)
        self._read_once = self._there = True
        return self.jobs

    def _unreadable(self, error: OSError) -> list[HeldJob] | None:
        problem = f"{self.path}: {error.strerror or error}"
        if self._problems.get("") != problem:
            log.warning("%s: who holds which GPU is as it was last known", problem)
        self.errors += 1
        self._problems[""] = problem
        return self.jobs if self._read_once else None

    def _look(self, folder: int) -> None:
        """Read what is new in the open folder."""
        with os.scandir(folder) as entries:
            found = sorted(
                (entry.name, entry)
                for entry in entries
                if entry.name.endswith(".json") and not entry.name.startswith(".")
            )
        problems = {}
        if len(found) > MOST_JOBS:
            problems[""] = f"{self.path} has {len(found)} files, of which {MOST_JOBS} are read"
        trusted = {0, os.geteuid(), os.fstat(folder).st_uid}
        files = {}
        for name, entry in found[:MOST_JOBS]:
            try:
                seen = _Stamp.of(entry.stat(follow_symlinks=False))
                known = self._files.get(name)
                if known is not None and known[0] == seen:
                    files[name] = known
                    if name in self._problems:
                        problems[name] = self._problems[name]
                    continue
                files[name] = (seen, None)
                job = parse_job(_text_of(folder, name, trusted))
                early = self._early(job)
                if early:
                    # It holds its GPUs all the same, from when it is seen on.
                    problems[name] = f"{self.path / _shown(name)}: {early}"
                    job = dataclasses.replace(job, since=None)
                files[name] = (seen, job)
            except FileNotFoundError:  # an epilog has cleared it away
                files.pop(name, None)
            except (NotAJobError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                problems[name] = f"{self.path / _shown(name)}: {reason}"
        self._files = files
        self._settle(problems)

    def _early(self, job: HeldJob) -> str:
        """Return what is wrong with a job that begins in the future, or nothing."""
        ahead = 0.0 if job.since is None else job.since - self._clock.time()
        if ahead <= EARLY_SECONDS:
            return ""
        return f"since is {ahead:.0f} s in the future; it is a time in seconds since 1970"

    def _settle(self, problems: dict[str, str]) -> None:
        """Count and log what is newly wrong, and log when all is right again."""
        for name, problem in problems.items():
            if self._problems.get(name) != problem:
                self.errors += 1
                skipped = name and self._files[name][1] is None
                log.warning("%s%s", problem, "; the file is skipped" if skipped else "")
        if self._problems and not problems:
            log.info("the job files in %s can be read again", self.path)
        self._problems = problems


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _text_of(folder: int, name: str, trusted: set[int]) -> str:
    """Return what a prolog wrote; NotAJobError for a file that is not a prolog's.

    The folder is the administrator's, and so is who may write there; but a mistake in its rights
    must not let a user put a job onto somebody's account, or stop the agent with a pipe.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotAJobError("it is a symbolic link") from None
        raise
    try:
        _must_be_a_prologs(os.fstat(file), trusted)
        with os.fdopen(file, "rb", closefd=False) as stream:
            data = stream.read(MOST_BYTES + 1)
    finally:
        os.close(file)
    if len(data) > MOST_BYTES:
        raise NotAJobError(f"it is larger than {MOST_BYTES} bytes")
    return data.decode("utf-8", "replace")


def _must_be_a_prologs(found: os.stat_result, trusted: set[int]) -> None:
    """Raise NotAJobError for what is not a file, or one that a user may have written."""
    if not stat.S_ISREG(found.st_mode):
        raise NotAJobError("it is not a file")
    if found.st_uid not in trusted:
        raise NotAJobError(
            f"it belongs to user {found.st_uid}, who is not root, the agent or the folder's owner"
        )
    if found.st_mode & stat.S_IWOTH:
        raise NotAJobError("everybody may write to it; chmod 644")
