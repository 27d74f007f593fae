"""What a bug report needs, in one archive: without secrets, and with other words for users."""

from __future__ import annotations

import dataclasses
import functools
import http.client
import io
import os
import platform
import re
import sys
import tarfile
import time
from collections.abc import Callable, Collection, Mapping
from importlib import metadata
from pathlib import Path

from gpumon import __version__
from gpumon.doctor import command, here
from gpumon.doctor.agent import ask
from gpumon.doctor.examine import at_once
from gpumon.doctor.redact import redact, redact_json, users_in, words_for
from gpumon.errors import UnavailableError, UsageError
from gpumon.install.unit import UNIT

COMMANDS = {
    "nvidia-smi.txt": ("nvidia-smi", "-q"),
    "service.txt": ("systemctl", "status", "--no-pager", "--lines=0", UNIT),
    "log.txt": ("journalctl", "-u", UNIT, "-n", "200", "--no-pager"),
}
"""Files that are what a command prints."""

KERNEL_LOGS = (("dmesg", "--ctime"), ("journalctl", "-k", "-n", "100000", "--no-pager"))
"""Where the kernel's log is: the second one goes further back, and may be read by group adm."""

COMMAND_SECONDS = 10.0
"""How long nvidia-smi may take, which starts each GPU without persistence mode."""

ALL_SECONDS = 15.0

MOST_BYTES = 5_000_000
"""No file is longer than this; what comes last is kept."""

LEAST_SECRET = 4
"""Shorter ones would be found in half of all words."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """The sources of a bundle's files; ``files`` are settings, by their name in it."""

    doctor: str
    agent_url: str
    metrics: str
    files: Mapping[str, Path]


def gather(sources: Sources, secrets: Collection[str] = (), hosts: Collection[str] = ()) -> Files:
    """Return the files of a bundle by their names, redacted.

    ``secrets`` must not be in it, and for ``hosts`` it has other words.
    """
    ways: dict[str, Callable[[], str]] = {
        "versions.txt": _versions,
        **{name: functools.partial(_settings, path) for name, path in sources.files.items()},
        "thresholds.json": lambda: _fetched(sources.agent_url, "/api/v1/thresholds"),
        "snapshot.json": lambda: _fetched(sources.agent_url, "/api/v1/snapshot"),
        "metrics.txt": lambda: _fetched(sources.agent_url, sources.metrics),
        "kernel.txt": _kernel_log,
        **{name: functools.partial(_printed, argv) for name, argv in COMMANDS.items()},
    }
    got = at_once({name: functools.partial(_told, way) for name, way in ways.items()}, ALL_SECONDS)
    late = f"no answer within {ALL_SECONDS:g} s\n"
    texts = {"doctor.json": sources.doctor, **{name: got.get(name, late) for name in ways}}
    own = {os.environ.get(name, "") for name in ("SUDO_USER", "USER", "LOGNAME")}
    users = users_in(texts.values()) | own | {here.user_name(os.geteuid())}
    words = words_for(users, hosts)
    known = {secret for secret in secrets if len(secret) >= LEAST_SECRET}
    return {name: _end(_clean(name, text, words, known)) for name, text in texts.items()}


Files = dict[str, str]


def _told(way: Callable[[], str]) -> str:
    try:
        return way()
    except Exception as error:  # noqa: BLE001 - the other files are needed all the more
        return f"{type(error).__name__}: {error}\n"


def _clean(name: str, text: str, words: Mapping[str, str], secrets: Collection[str]) -> str:
    clean = redact_json if name.endswith(".json") else redact
    return clean(text, words, secrets)


def _end(text: str) -> str:
    """Return the end of a text that was redacted before: the rest of a secret looks like none."""
    if len(text) <= MOST_BYTES:
        return text
    return text[-MOST_BYTES:].partition("\n")[2]


def _versions() -> str:
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    lines = [
        f"gpumon {__version__}",
        f"python {sys.version}",
        f"kernel {platform.platform()}",
        f"system {release.get('PRETTY_NAME', 'not known')}",
        f"path {Path(__file__).parents[1]}",
        *map(_version, _packages()),
    ]
    module = here.MODULE_VERSION
    lines.append(module.read_text("utf-8") if module.exists() else "no kernel module of NVIDIA's")
    return "\n".join(lines) + "\n"


def _packages() -> list[str]:
    """Return the packages that gpumon uses, by its own metadata; not those that build it."""
    try:
        needed = metadata.requires("gpumon") or []
    except metadata.PackageNotFoundError:
        return []
    used = (one for one in needed if not re.search(r"extra == .dev\b", one))
    return sorted({re.split(r"[^\w.-]", one, maxsplit=1)[0] for one in used})


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} is not installed"


def _settings(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError as error:
        return f"# {path}: {error.strerror}\n"


def _fetched(url: str, path: str) -> str:
    try:
        return ask(url, path, COMMAND_SECONDS).text
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{url}{path}: {getattr(error, 'reason', None) or error}\n"


def _printed(argv: tuple[str, ...]) -> str:
    printed = command.run(argv, COMMAND_SECONDS)
    return printed.text + (f"{printed.problem}\n" if printed.problem else "")


def _kernel_log() -> str:
    """Return the driver's lines of the kernel's log; why there are none, if it cannot be read."""
    problems = ""
    for argv in KERNEL_LOGS:
        printed = command.run(argv, COMMAND_SECONDS / len(KERNEL_LOGS))
        if printed.code == 0:
            lines = printed.text.splitlines(keepends=True)
            return "".join(line for line in lines if re.search("NVRM|Xid|nvidia", line))
        problems += printed.problem + "\n" if printed.problem else printed.text
    return problems


def check(path: Path) -> None:
    """Raise UsageError for a file that is there: before anything is looked at for it."""
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already", "choose another name")


def write(path: Path, files: Mapping[str, str]) -> None:
    """Write the archive, for its owner only; one that is there is never overwritten."""
    now = int(time.time())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already", "choose another name") from None
    except OSError as error:
        raise UnavailableError(
            f"cannot write {path} ({error.strerror})", "choose another name"
        ) from None
    try:
        with (
            os.fdopen(descriptor, "wb") as file,
            tarfile.open(fileobj=file, mode="w:gz") as archive,
        ):
            for name, text in files.items():
                data = text.encode("utf-8", "replace")
                entry = tarfile.TarInfo(f"gpumon-doctor/{name}")
                entry.size, entry.mtime, entry.mode = len(data), now, 0o600
                archive.addfile(entry, io.BytesIO(data))
    except OSError as error:
        path.unlink(missing_ok=True)  # the half of an archive is none
        raise UnavailableError(
            f"cannot write {path} ({error.strerror})", "make room, or choose another folder"
        ) from None
