"""Logging of the long-running commands: one line an event, in the form journald and Loki like."""

from __future__ import annotations

import logging
import os
import sys


class _LogfmtFormatter(logging.Formatter):
    """``level=… msg="…"``, with the time where no service manager puts it on."""

    def __init__(self) -> None:
        super().__init__()
        self._timed = "JOURNAL_STREAM" not in os.environ

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage().replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        line = f'level={record.levelname.lower()} msg="{text}"'
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return (
            f"time={self.formatTime(record, '%Y-%m-%dT%H:%M:%S%z')} {line}" if self._timed else line
        )


def configure_logging(*, debug: bool = False) -> None:
    """Send the log to stderr; debug messages and other packages' only where asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogfmtFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # What a client of the HTTP endpoint sends is not worth a line each: anybody can send it.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("asyncio").addFilter(lambda record: "accept()" not in record.getMessage())
    logging.getLogger("gpumon").setLevel(logging.DEBUG if debug else logging.INFO)
