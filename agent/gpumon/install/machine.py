"""What there is before anything is changed: this gpumon, systemd, and the service's files."""

from __future__ import annotations

import contextlib
import dataclasses
import grp
import os
import pwd
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import gpumon
from gpumon.config import DEFAULT_FILE
from gpumon.errors import UnavailableError
from gpumon.install.files import DROP_INS, OTHER_UNITS, UNIT_FILE, UNIT_PLACES, USERS_FILE, WANTED
from gpumon.install.unit import ENVIRONMENT, STATE_DIR, UNIT, USER


@dataclasses.dataclass(frozen=True, slots=True)
class Executable:
    """What the service starts; ``unseen`` says why its user could not, empty if he can."""

    argv: tuple[str, ...]
    unseen: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """What there is.

    unit: systemd's word on the unit, by property of ``systemctl show``; None if systemd is not
        what runs here.
    enabled, dangling: it is started with the machine; by a link that leads to no unit.
    outdated: the agent was started before its unit, its settings or this gpumon was written.
    files: the texts of the service's files that exist.
    elsewhere: a unit of the same name that is not the administrator's.
    closed: what of the configuration the service's user could not read.
    left, others: what a removal of the service leaves behind unless it purges; what stands beside
        its configuration and is not the agent's.
    site: gpumon-site is a service here, and runs as the same user.
    """

    program: Executable
    is_root: bool
    has_systemd: bool
    unit: Mapping[str, str] | None
    enabled: bool
    dangling: bool
    outdated: bool
    files: Mapping[Path, str]
    masked: bool
    elsewhere: Path | None
    has_user: bool
    closed: Path | None
    left: tuple[Path, ...]
    others: tuple[str, ...]
    site: bool


def look(root: Path = Path("/")) -> Machine:
    """Look at this machine, or at one below a root; UnavailableError if the user may not."""
    try:
        return _look(lambda path: root / path.relative_to("/"))
    except PermissionError as error:
        raise UnavailableError(f"{error.filename} is not for this user", "use sudo") from None


def _look(at: Callable[[Path], Path]) -> Machine:
    texts = {path: _text(at(path)) for path in (UNIT_FILE, USERS_FILE) if at(path).is_file()}
    settings = (DEFAULT_FILE, ENVIRONMENT, DROP_INS)
    unit = _shown() if at(Path("/run/systemd/system")).is_dir() else None
    written = (*map(at, (UNIT_FILE, *settings)), *at(DROP_INS).glob("*.conf"))
    return Machine(
        program=program(),
        is_root=os.geteuid() == 0,
        has_systemd=shutil.which("systemctl") is not None,
        unit=unit,
        enabled=_systemctl("is-enabled", UNIT).strip() == "enabled",
        dangling=at(WANTED).is_symlink() and UNIT_FILE not in texts,
        outdated=_outdated(unit, (*written, Path(gpumon.__file__))),
        files=texts,
        masked=at(UNIT_FILE).is_symlink() and at(UNIT_FILE).readlink() == Path(os.devnull),
        elsewhere=next((path for path in OTHER_UNITS if at(path).exists()), None),
        has_user=_has_account(),
        closed=next((p for p in (DEFAULT_FILE.parent, DEFAULT_FILE) if _is_closed(at(p))), None),
        left=tuple(path for path in (*settings, STATE_DIR) if at(path).exists()),
        others=tuple(sorted(_others(at(DEFAULT_FILE.parent)))),
        site=any(at(path.with_name("gpumon-site.service")).exists() for path in UNIT_PLACES),
    )


def _text(file: Path) -> str:
    return file.read_text("utf-8", "surrogateescape")


def _others(folder: Path) -> Iterator[str]:
    """Yield the names in the configuration's folder that are not the agent's."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in {DEFAULT_FILE.name, ENVIRONMENT.name}:
            yield path.name


def program() -> Executable:
    """Return the command of this installation, and why only its user can run it."""
    script = Path(sys.executable).with_name("gpumon")
    argv = (str(script),) if script.exists() else (sys.executable, "-m", "gpumon")
    needed = (script, Path(sys.executable), Path(gpumon.__file__), Path(sys.base_prefix))
    return Executable(argv, unseen(path for path in needed if path.exists()))


HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - compared only
"""What the unit's ProtectHome and PrivateTmp hide from it."""


def unseen(paths: Iterable[Path]) -> str:
    """Say of the first path that the service's user could not open why; nothing of none."""
    for path in paths:
        for each in (path, path.resolve()):
            hidden = next((folder for folder in HIDDEN if each.is_relative_to(folder)), None)
            if hidden is not None:
                return f"{each} is below {hidden}, which it does not see"
            if not _allows(each, 0o005 if each.is_dir() else 0o004):
                return f"{each} is closed to others"
            closed = next((p for p in each.parents if not _allows(p, 0o001)), None)
            if closed is not None:
                return f"{closed} is closed to others"
    return ""


def _allows(path: Path, mode: int) -> bool:
    return path.stat().st_mode & mode == mode


def _is_closed(path: Path) -> bool:
    """Return whether the service's user could not read a file, or enter a folder, that exists."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    wanted = 0o005 if stat.S_ISDIR(status.st_mode) else 0o004
    allowed = status.st_mode & 0o007
    with contextlib.suppress(KeyError):
        if status.st_gid == grp.getgrnam(USER).gr_gid:
            allowed |= status.st_mode >> 3 & 0o007
        if status.st_uid == pwd.getpwnam(USER).pw_uid:
            allowed |= status.st_mode >> 6 & 0o007
    return allowed & wanted != wanted


def _shown() -> Mapping[str, str] | None:
    """Ask systemd for the unit; None in a chroot, if it says that it is "offline"."""
    if _systemctl("is-system-running").strip() == "offline":
        return None
    lines = _systemctl("show", UNIT, "-p", "ActiveState,ExecMainStartTimestampMonotonic")
    return dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)


def _systemctl(*words: str) -> str:
    if shutil.which("systemctl") is None:
        return ""
    argv = ("systemctl", *words)
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def _outdated(unit: Mapping[str, str] | None, files: Iterable[Path]) -> bool:
    """Return whether a service was started before one of its files was put in place.

    By the time of the inode's change: a copy may bring the time of its original along.
    """
    microseconds = int((unit or {}).get("ExecMainStartTimestampMonotonic") or 0)
    started = time.time() - time.monotonic() + microseconds / 1e6
    return bool(microseconds) and any(f.stat().st_ctime > started for f in files if f.exists())


def _has_account() -> bool:
    """Return whether the service's user and group exist, wherever users are kept."""
    try:
        pwd.getpwnam(USER)
        grp.getgrnam(USER)
    except KeyError:
        return False
    return True
