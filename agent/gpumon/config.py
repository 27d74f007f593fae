"""Configuration: flag, then environment, then file, then default.

The file is TOML with a table for each command, whose keys are the command's flags::

    [agent]
    source = "nvml"
    web.listen-address = ":9842"
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
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

    None is the default file, which need not be there. Raises UnavailableError where the file
    cannot be read and UsageError, with the line, where it is no TOML.
    """
    file = path or DEFAULT_FILE
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if path is None:
            return {}
        raise UsageError(f"no configuration file {file}", "check --config") from None
    except OSError as error:
        raise UnavailableError(
            f"cannot read {file} ({error.strerror})", "check its permissions"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}", "mend the line, or leave out --config") from None


def section(
    tables: Mapping[str, Any], command: str, commands: Iterable[str], flags: Iterable[str]
) -> dict[str, Any]:
    """Return a command's values by flag (``web.listen-address``); UsageError for unknown keys."""
    known_commands, known = sorted(commands), sorted(flags)
    for name, table in tables.items():
        if name not in known_commands:
            raise UsageError(
                f"configuration: unknown table [{name}]",
                f"known are {', '.join(known_commands)}{hint(name, known_commands)}",
            )
        if not isinstance(table, Mapping):
            raise UsageError(f"configuration: {name} is no table", f"write [{name}]")
    values = dict(_flatten(tables.get(command, {})))
    for key in values:
        if key not in known:
            raise UsageError(
                f"configuration: unknown key {key!r} in [{command}]",
                f"known are {', '.join(known)}{hint(key, known)}",
            )
    return values


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            # Numbers are checked as they would be on the command line, where they are text.
            yield f"{prefix}{key}", value if isinstance(value, bool) else str(value)
