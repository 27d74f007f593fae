"""What is written: the shipped unit for this installation, the user, a first configuration."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpumon import __version__
from gpumon.assets import asset
from gpumon.config import COMMON
from gpumon.install.unit import UNIT

WANTED = Path(f"/etc/systemd/system/multi-user.target.wants/{UNIT}.service")
"""The link by which systemd starts it with the machine; ``disable`` removes it."""

UNIT_FILE = Path(f"/etc/systemd/system/{UNIT}.service")
DROP_INS = Path(f"{UNIT_FILE}.d")
"""Where ``systemctl edit`` keeps a site's own settings of the unit."""

OTHER_UNITS = tuple(
    Path(f"{folder}/systemd/system/{UNIT}.service") for folder in ("/usr/lib", "/lib")
)
"""Where others than the administrator have units."""

UNIT_PLACES = (UNIT_FILE, *OTHER_UNITS)

USERS_FILE = Path("/etc/sysusers.d/gpumon.conf")
"""The administrator's place for it (sysusers.d(5)); a package's would be below /usr/lib."""

_SHIPPED = {
    UNIT_FILE: f"deploy/systemd/{UNIT}.service",
    USERS_FILE: "deploy/systemd/gpumon.sysusers.conf",
}

_SHIPPED_PROGRAM = "ExecStart=/usr/local/bin/gpumon agent\n"

_HEADER = (
    r"# Written by gpumon install, version [^ \n]+\.\n# SHA-256 of what follows: ([0-9a-f]{64})\n"
)
"""The first two lines of a file that was written here; what follows them is checked."""


def rendered(argv: Sequence[str]) -> dict[Path, str]:
    """Return the files that are gpumon's own, with a mark by which a later edit is seen.

    The version is in the mark, so that a reader knows where it is from.
    """
    texts = {path: asset(name).read_text("utf-8") for path, name in _SHIPPED.items()}
    unit = texts[UNIT_FILE]
    if unit.count(_SHIPPED_PROGRAM) != 1:
        raise AssertionError(f"the unit that ships starts something else than {_SHIPPED_PROGRAM}")
    texts[UNIT_FILE] = unit.replace(_SHIPPED_PROGRAM, f"ExecStart={' '.join(argv)} agent\n")
    return {path: _marked(text) for path, text in texts.items()}


def _marked(text: str) -> str:
    return (
        f"# Written by gpumon install, version {__version__}.\n"
        f"# SHA-256 of what follows: {_digest(text)}\n{text}"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def is_ours(path: Path, text: str) -> bool:
    """Return whether a file is as gpumon wrote it, or as it ships; else somebody edited it."""
    if text == asset(_SHIPPED[path]).read_text("utf-8"):
        return True
    head = re.match(_HEADER, text)
    return head is not None and head[1] == _digest(text[head.end() :])


@dataclasses.dataclass(frozen=True, slots=True)
class FileSetting:
    """A flag of the agent, as its configuration file has it (``web.listen-address``)."""

    key: str
    help: str
    default: Any
    example: str


def configuration(settings: Sequence[FileSetting], chosen: Mapping[str, str]) -> str:
    """Return a configuration file with the chosen values, and all others behind a #."""
    common = [line for s in settings if s.key in COMMON for line in _lines(s, chosen)]
    own = [line for s in settings if s.key not in COMMON for line in _lines(s, chosen)]
    return "\n".join([_HEAD, *common, "[agent]\n", *own])


def _lines(setting: FileSetting, chosen: Mapping[str, str]) -> list[str]:
    if setting.key in chosen:
        line = f"{setting.key} = {_toml(typed(chosen[setting.key]))}"
    else:
        value = setting.example if setting.default is None else setting.default
        line = f"#{setting.key} = {_toml(value)}"
    return [f"# {setting.help}", line, ""]


_HEAD = """\
# The configuration of gpumon on this machine. A key is a flag of the command that its table is
# named for; what stands before the first table is of all commands. What stands behind a # is the
# default, or an example if there is none.
# After a change: systemctl restart gpumon-agent
"""


def typed(word: str) -> bool | int | float | str:
    """Return what a word on the command line would be in TOML."""
    if word.lower() in {"true", "false"}:
        return word.lower() == "true"
    for number in (int, float):
        try:
            value = number(word)
        except ValueError:
            continue
        return value if math.isfinite(value) else word
    return word


def _toml(value: Any) -> str:
    """Write a value: JSON's booleans, numbers and strings are TOML's as well."""
    plain = isinstance(value, bool | int | float)
    return json.dumps(value if plain else str(value), ensure_ascii=False)
