"""What there is before anything is changed: this gpumon, systemd, and the service's files."""

from __future__ import annotations

import dataclasses
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import gpumon
from gpumon.config import DEFAULT_FILE
from gpumon.install.files import DROP_INS, PACKAGED_UNITS, UNIT_FILE, USERS_FILE
from gpumon.service import STATE_DIR, UNIT, USER


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """What the service starts; ``unseen`` is the part of it that the service could not open."""

    command: str
    unseen: Path | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """What there is.

    ``files`` are the texts of the service's files that exist; ``unit`` is systemd's word on the
    unit, by property of ``systemctl show``, None where systemd is not what runs here; ``outdated``
    says that the agent was started before its unit, its configuration or this gpumon was written;
    ``left`` is what a removal of the service leaves, unless it is to be purged.
    """

    program: Program
    is_root: bool
    has_systemd: bool
    unit: Mapping[str, str] | None
    outdated: bool
    files: Mapping[Path, str]
    masked: bool
    packaged: Path | None
    has_user: bool
    left: tuple[Path, ...]


def look(root: Path = Path("/")) -> Machine:
    """Look at this machine, or at one below a root."""

    def at(path: Path) -> Path:
        return root / path.relative_to("/")

    def text(path: Path) -> str | None:
        try:
            return at(path).read_text("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None

    found = {path: text(path) for path in (UNIT_FILE, USERS_FILE)}
    masked = at(UNIT_FILE).is_symlink() and at(UNIT_FILE).readlink() == Path(os.devnull)
    unit = _shown(at(Path("/run/systemd/system")))
    return Machine(
        program=program(),
        is_root=os.geteuid() == 0,
        has_systemd=shutil.which("systemctl") is not None,
        unit=unit,
        outdated=_outdated(unit, (at(UNIT_FILE), at(DEFAULT_FILE), Path(gpumon.__file__))),
        files={} if masked else {path: it for path, it in found.items() if it is not None},
        masked=masked,
        packaged=next((path for path in PACKAGED_UNITS if at(path).exists()), None),
        has_user=_has_user(),
        left=tuple(p for p in (DROP_INS, DEFAULT_FILE.parent, STATE_DIR) if at(p).exists()),
    )


def program() -> Program:
    """Return the command of this installation, and what of it only its user can open."""
    script = Path(sys.executable).with_name("gpumon")
    command = str(script) if script.exists() else f"{sys.executable} -m gpumon"
    needed = (script, Path(sys.executable), Path(gpumon.__file__), Path(sys.base_prefix))
    return Program(command, first_unseen(path for path in needed if path.exists()))


HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108
"""What the unit's ProtectHome and PrivateTmp hide from it."""


def first_unseen(paths: Iterable[Path]) -> Path | None:
    """Return the first path that the service's user could not open, None where he can open all."""
    for path in paths:
        for each in {path, path.resolve()}:
            if any(each.is_relative_to(hidden) for hidden in HIDDEN):
                return each
            closed = next((p for p in (each, *each.parents) if not _open_to_all(p)), None)
            if closed is not None:
                return closed
    return None


def _open_to_all(path: Path) -> bool:
    wanted = 0o005 if path.is_dir() else 0o004
    return path.stat().st_mode & wanted == wanted


def _shown(booted: Path) -> Mapping[str, str] | None:
    """Ask systemd for the unit; None where it does not run (sd_booted(3): is this folder there)."""
    if not booted.is_dir():
        return None
    ask = (
        "systemctl",
        "show",
        UNIT,
        "-p",
        "ActiveState,UnitFileState,ExecMainStartTimestampMonotonic",
    )
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def _outdated(unit: Mapping[str, str] | None, files: Iterable[Path]) -> bool:
    """Tell whether a running service was started before one of its files was last written."""
    microseconds = int((unit or {}).get("ExecMainStartTimestampMonotonic") or 0)
    started = time.time() - time.monotonic() + microseconds / 1e6
    return bool(microseconds) and any(f.stat().st_mtime > started for f in files if f.exists())


def _has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True
