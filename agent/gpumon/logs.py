"""Logging of the long-running commands: one line an event, in the form journald and Loki like."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class _LogfmtFormatter(logging.Formatter):
    """``level=… msg="…"``, with the time if no service manager puts it on.

    A record's ``fields`` (``extra={"fields": {…}}``) follow as ``name=value``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._timed = "JOURNAL_STREAM" not in os.environ

    def format(self, record: logging.LogRecord) -> str:
        line = f"level={record.levelname.lower()} msg={_quoted(record.getMessage())}"
        fields: Mapping[str, object] = getattr(record, "fields", {})
        line += "".join(f" {name}={_value(value)}" for name, value in fields.items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return (
            f"time={self.formatTime(record, '%Y-%m-%dT%H:%M:%S%z')} {line}" if self._timed else line
        )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    # A process may be called anything: nothing of it may move a terminal's cursor or end the line.
    return '"' + _CONTROL.sub(_hexadecimal, escaped) + '"'


def _hexadecimal(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"


def _value(value: object) -> str:
    """Write a field's value; only what could be taken for something else is quoted."""
    text = str(value)
    return text if re.fullmatch(r"[\w.:/+-]+", text) else _quoted(text)


def configure_logging(*, debug: bool = False) -> None:
    """Send the log to stderr; debug messages and other packages' only if asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogfmtFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # What a client of the HTTP endpoint sends is not worth a line each: anybody can send it.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("asyncio").addFilter(lambda record: "accept()" not in record.getMessage())
    logging.getLogger("gpumon").setLevel(logging.DEBUG if debug else logging.INFO)
