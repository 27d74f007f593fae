"""Configuration: flag, then environment, then file, then default.

The file is TOML with a table for each command, whose keys are the command's flags. What holds for
all commands stands before the first table::

    thresholds = "thresholds.toml"
    node = "n17"

    [agent]
    source = "nvml"
    web.listen-address = ":9842"
"""

from __future__ import annotations

import dataclasses
import enum
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gpumon.errors import UnavailableError, UsageError, hint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_FILE = Path("/etc/gpumon/gpumon.toml")


def load(path: Path | None) -> dict[str, Any]:
    """Return the tables of a configuration file.

    None is the default file, which need not be there. Raises UnavailableError if the file
    cannot be read and UsageError, with the line, if it is not TOML.
    """
    file = path or DEFAULT_FILE
    try:
        return read_toml(file)
    except FileNotFoundError:
        if path is None:
            return {}
        raise UsageError(f"no configuration file {file}", "check --config") from None
    except OSError as error:
        raise UnavailableError(
            f"cannot read {file} ({error.strerror})", "check its permissions"
        ) from None
    except ValueError as error:
        raise UsageError(f"{file}: {error}", "mend the line, or leave out --config") from None


MOST_BYTES = 1 << 20
"""No file of settings is as large."""


def read_toml(file: Path) -> dict[str, Any]:
    """Return what is in a TOML file.

    Raises OSError if it cannot be read, and ValueError, with the line, if it is not such a file: a
    pipe or a device may never end.
    """
    # The null device is how one says "none"; it ends at once.
    if file.exists() and not file.is_file() and str(file) != os.devnull:
        raise ValueError("it is not a regular file")
    with file.open("rb") as opened:
        raw = opened.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


COMMON = ("thresholds", "node")
"""The keys of all commands: a file, whose path is relative to the configuration's, and a name."""


def common(tables: Mapping[str, Any], command: str, file: Path | None) -> dict[str, str]:
    """Return the values that hold for all commands, or for this one in its own table.

    ``file`` is where the tables are from, as ``load`` takes it. Raises UsageError for a value that
    is not a path, or not a name.
    """
    found = {}
    own = tables.get(command, {})
    for key in COMMON:
        value = own.get(key, tables.get(key)) if isinstance(own, Mapping) else tables.get(key)
        if value is None:
            continue
        kind, example = ("name", "NAME") if key == "node" else ("path", "FILE")
        if not isinstance(value, str) or not value:
            raise UsageError(
                f"configuration: {key} is not a {kind}",
                f'write {key} = "{example}" before the tables',
            )
        found[key] = value if key == "node" else str((file or DEFAULT_FILE).parent / value)
    return found


def tables_of(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of a file, without what holds for all commands."""
    return {name: table for name, table in whole.items() if name not in COMMON}


def section(
    tables: Mapping[str, Any], command: str, commands: Iterable[str], flags: Iterable[str]
) -> dict[str, Any]:
    """Return a command's values by flag (``web.listen-address``); UsageError for unknown keys."""
    known_commands, known_flags = sorted(commands), sorted(flags)
    for name, table in tables_of(tables).items():
        if name not in known_commands:
            words = f"table [{name}]" if isinstance(table, Mapping) else f"key {name!r}"
            known = [*COMMON, *known_commands]
            raise UsageError(
                f"configuration: unknown {words}",
                f"known are {', '.join(known)}{hint(name, known)}",
            )
        if not isinstance(table, Mapping):
            raise UsageError(f"configuration: {name} is not a table", f"write [{name}]")
    values = dict(_flatten(tables.get(command, {})))
    for key in values:
        if key not in known_flags:
            raise UsageError(
                f"configuration: unknown key {key!r} in [{command}]",
                f"known are {', '.join(known_flags)}{hint(key, known_flags)}",
            )
    return values


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            # Numbers are checked as they would be on the command line, where they are text.
            yield f"{prefix}{key}", value if isinstance(value, bool) else str(value)


NODE_VARIABLE = "GPUMON_NODE"


def node_name(given: str | None = None) -> str:
    """Return what this node is called: as given, else by GPUMON_NODE, else the host's name.

    In a pod the host's name is the pod's, so the variable carries the node's (design section 11).
    Raises UsageError for what cannot be a name.
    """
    name = given or os.environ.get(NODE_VARIABLE) or socket.gethostname()
    if not name.isprintable() or len(name) > MOST_NAME:
        raise UsageError(
            f"--node {name[:40]!r} is not a name",
            f"write up to {MOST_NAME} printable characters",
        )
    return name


MOST_NAME = 253
"""As long as a host's name may be (hostname(7))."""


class Shape(enum.Enum):
    """What kind of value a setting takes."""

    TEXT = "text"
    SWITCH = "switch"
    CHOICE = "choice"
    COUNT = "count"
    SECONDS = "seconds"
    WATTS = "watts"
    FILE = "file"
    FOLDER = "folder"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value that may be given by a flag, a variable or the configuration file.

    ``flag`` names all three: ``--web.x-y`` is the variable ``GPUMON_WEB_X_Y`` and the key
    ``web.x-y``. ``default`` is written as on the command line; ``otherwise`` says what holds if
    there is none. ``bounds`` are of a number. ``parse`` makes the value of the options' field of
    it, and raises UsageError. ``note`` is for the documentation alone.
    """

    flag: str
    help: str
    shape: Shape = Shape.TEXT
    default: str | float | Path | None = None
    otherwise: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    parse: Callable[[Any], Any] | None = None
    note: str = ""

    @property
    def key(self) -> str:
        """The key in the table of the configuration file."""
        return self.flag.removeprefix("--")

    @property
    def variable(self) -> str:
        """The variable of the environment."""
        return "GPUMON_" + self.key.replace(".", "_").replace("-", "_").upper()


def setting(
    flag: str,
    help_: str,
    shape: Shape = Shape.TEXT,
    *,
    value: Any = dataclasses.MISSING,
    factory: Any = dataclasses.MISSING,
    **row: Any,
) -> Any:
    """Declare a field of an options dataclass as a setting.

    ``value``, or what ``factory`` makes, is what the field has in a program that does not say
    otherwise.
    """
    metadata = {"setting": Setting(flag=flag, help=help_, shape=shape, **row)}
    return dataclasses.field(default=value, default_factory=factory, metadata=metadata)


def settings_of(options: type) -> dict[str, Setting]:
    """Return the settings of an options dataclass by their fields, in the order of declaration."""
    return {
        field.name: field.metadata["setting"]
        for field in dataclasses.fields(options)
        if "setting" in field.metadata
    }
