"""What a bug report needs, in one archive: without secrets, and with other words for users."""

from __future__ import annotations

import io
import os
import platform
import re
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from gpumon import __version__
from gpumon.errors import UnavailableError, UsageError

COMMANDS = {
    "nvidia-smi.txt": ("nvidia-smi", "-q"),
    "kernel.txt": ("dmesg", "--ctime"),
    "service.txt": ("systemctl", "status", "--no-pager", "gpumon-agent"),
    "log.txt": ("journalctl", "-u", "gpumon-agent", "-n", "500", "--no-pager"),
}
"""Files that are what a command prints; of the kernel's only the driver's lines."""

COMMAND_SECONDS = 10.0
MOST_BYTES = 5_000_000
"""No file is longer than this; what comes last is kept."""

PACKAGES = ("nvidia-ml-py", "prometheus-client", "click", "rich", "starlette", "uvicorn", "textual")

_SECRET = re.compile(
    r"""(?imx)
    ( \b [\w.-]* (?:password|passwd|token|secret|bearer|api[_-]?key|basic_auth_users) [\w.-]* ["']?
      \s* [=:]? \s* )
    ( "[^"\n]*" | '[^'\n]*' | [^\s,;}]+ )
    """
)
_URL_USER = re.compile(r"(://)[^/\s:@]+(?::[^/\s@]*)?@")
_HASH = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_WHO = re.compile(r"""["']?\b(user|account|user_name)["']?\s*[=:]\s*"([^"\n]+)\"""")


def redact(text: str, names: Iterable[str] = ()) -> str:
    """Return a text without passwords, tokens and their like, and with other words for names.

    A name is replaced wherever it stands as a word; the same one always by the same word.
    """
    text = _SECRET.sub(r"\1***", text)
    text = _HASH.sub("***", text)
    text = _URL_USER.sub(r"\1***@", text)
    for number, name in enumerate(sorted(set(names)), 1):
        if name not in _NOBODY:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", f"user{number}", text)
    return text


_NOBODY = frozenset({"", "root", "gpumon", "sim"})
"""Users that say nothing about anybody."""


def users_in(texts: Iterable[str]) -> set[str]:
    """Return the names of users and accounts in JSON and in labels of metrics."""
    return {found[1] for text in texts for found in _WHO.findall(text)}


def gather(doctor: str, configuration: Path, agent_url: str) -> dict[str, str]:
    """Return the files of a bundle by their names, redacted."""
    files = {"doctor.json": doctor, "versions.txt": _versions()}
    if configuration.exists():
        files["gpumon.toml"] = configuration.read_text("utf-8", "replace")
    for name, path in (("snapshot.json", "/api/v1/snapshot"), ("metrics.txt", "/metrics")):
        files[name] = _fetched(agent_url + path)
    for name, argv in COMMANDS.items():
        files[name] = _printed(argv)
    kernel = files["kernel.txt"].splitlines(keepends=True)
    files["kernel.txt"] = "".join(line for line in kernel if re.search("NVRM|Xid|nvidia", line))
    names = users_in(files.values())
    own = os.environ.get("SUDO_USER") or os.environ.get("USER") or ""
    return {name: redact(text[-MOST_BYTES:], {*names, own}) for name, text in files.items()}


def _versions() -> str:
    lines = [
        f"gpumon {__version__}",
        f"python {sys.version}",
        f"kernel {platform.platform()}",
        f"path {Path(__file__).parents[1]}",
    ]
    for package in PACKAGES:
        try:
            lines.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{package} is not installed")
    version = Path("/proc/driver/nvidia/version")
    lines.append(version.read_text("utf-8") if version.exists() else "no kernel module of NVIDIA's")
    return "\n".join(lines) + "\n"


def _fetched(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=COMMAND_SECONDS) as answer:
            return str(answer.read(4 * MOST_BYTES).decode("utf-8", "replace"))
    except (OSError, ValueError) as error:
        return f"{url}: {error}\n"


def _printed(argv: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return f"{argv[0]} is not installed\n"
    except subprocess.TimeoutExpired:
        return f"{' '.join(argv)} did not end within {COMMAND_SECONDS:g} s\n"
    return done.stdout + done.stderr


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
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in files.items():
            data = text.encode("utf-8")
            entry = tarfile.TarInfo(f"gpumon-doctor/{name}")
            entry.size, entry.mtime, entry.mode = len(data), now, 0o600
            archive.addfile(entry, io.BytesIO(data))
