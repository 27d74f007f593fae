"""The steps that change a machine: each says what it does, and does it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
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
        """Write it below a root; OSError where that cannot be."""
        path = _below(root, self.path)
        _make_folder(path.parent)
        if self.keep_old:
            path.replace(_old(path))
        new = path.with_name(f".{path.name}.new")
        new.write_text(self.text, "utf-8")
        new.chmod(0o644)
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(path)


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
        """Remove it below a root; OSError where that cannot be."""
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
    next_step: str = "mend that, and run this again"

    def carry_out(self, _root: Path) -> None:
        """Run it to its end; UnavailableError, with what it said last, where it fails."""
        command = " ".join(self.argv)
        try:
            done = subprocess.run(
                self.argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise UnavailableError(f"{command}: {error.strerror}", self.next_step) from None
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise UnavailableError(
                f"{command} ended with {done.returncode}{f' ({said[0]})' if said else ''}",
                self.next_step,
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Leave:
    """Leave something as it is, and say so."""

    what: str
    words = ("leave", "left")

    def carry_out(self, _root: Path) -> None:
        """Do nothing."""


Step = Write | Remove | Run | Leave


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
