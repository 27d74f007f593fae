"""The steps that change a machine: each says what it does, and does it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gpumon.errors import UnavailableError


@dataclasses.dataclass(frozen=True, slots=True)
class Write:
    """Write a file, at once and whole; the old one is kept beside it where it was edited."""

    path: Path
    text: str
    keep_old: bool = False
    words = ("write", "wrote")

    @property
    def what(self) -> str:
        """The file."""
        return f"{self.path}{f', keeping the old as {_old(self.path)}' if self.keep_old else ''}"

    def carry_out(self, root: Path) -> None:
        """Write it below a root; OSError if that cannot be, and then all is as it was."""
        path = _below(root, self.path)
        _make_folder(path.parent)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        new = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.text)
                file.flush()
                os.fsync(descriptor)
            new.chmod(0o644)
            if self.keep_old:
                shutil.copy2(path, _old(path))
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file, or a folder with all that is in it."""

    path: Path
    words = ("remove", "removed")

    @property
    def what(self) -> str:
        """The file or folder."""
        return str(self.path)

    def carry_out(self, root: Path) -> None:
        """Remove it below a root; OSError if that cannot be."""
        path = _below(root, self.path)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """Run one of the system's own commands."""

    argv: tuple[str, ...]
    words: tuple[str, str]
    what: str
    next_step: str = "fix that and run this again"
    fine: tuple[int, ...] = (0,)

    def carry_out(self, _root: Path) -> None:
        """Run it to its end; UnavailableError, with what it said last, if it fails."""
        command = " ".join(self.argv)
        try:
            done = _run(self.argv)
        except OSError as error:
            raise UnavailableError(f"{command}: {error.strerror}", self.next_step) from None
        if done.returncode not in self.fine:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise UnavailableError(
                f"{command} exited with {done.returncode}{f' ({said[0]})' if said else ''}",
                self.next_step,
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Stop:
    """Stop a service, and see that it has ended: nothing of its own is removed under it."""

    unit: str
    next_step: str
    words = ("stop", "stopped")

    @property
    def what(self) -> str:
        """The unit."""
        return self.unit

    def carry_out(self, root: Path) -> None:
        """Stop it; UnavailableError if it goes on, because systemd calls that a success."""
        Run(("systemctl", "stop", self.unit), self.words, self.unit, self.next_step).carry_out(root)
        shown = _run(("systemctl", "show", self.unit, "-p", "MainPID,Result")).stdout.split()
        runs = any(line.startswith("MainPID=") and line != "MainPID=0" for line in shown)
        if runs or "Result=timeout" in shown:
            raise UnavailableError(f"{self.unit} did not stop in time", self.next_step)


@dataclasses.dataclass(frozen=True, slots=True)
class Leave:
    """Leave something as it is, and say so."""

    what: str
    words = ("leave", "left")

    def carry_out(self, _root: Path) -> None:
        """Do nothing."""


Step = Write | Remove | Run | Stop | Leave


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _make_folder(folder: Path) -> None:
    """Make a folder that the service's user may enter, whatever root's umask is."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")
