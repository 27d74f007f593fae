"""Readings that are not numbers: NaN and infinity wherever one could stand."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import http.server
import itertools
import json
import math
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpumon.model import PowerSample

STRANGE = (math.nan, math.inf, -math.inf)


def refused(constant: str) -> None:
    """Fail for what no reader of JSON but Python's takes."""
    raise AssertionError(f"{constant} in JSON")


def parsed(text: str) -> Any:
    """Return the value of a text that is JSON to every reader, and not to Python's alone."""
    return json.loads(text, parse_constant=refused)


def without_numbers(value: Any, kept: frozenset[str] = frozenset()) -> Any:
    """Return a value with NaN or infinity for each number, but for those of some names.

    A value is a document, or a dataclass; truth values stay.
    """
    numbers = itertools.cycle(STRANGE)

    def fields(of: Mapping[str, Any]) -> dict[str, Any]:
        return {name: changed(each, name) for name, each in of.items()}

    def changed(inner: Any, name: str) -> Any:
        if name in kept or isinstance(inner, bool | str | enum.Enum):
            return inner
        if isinstance(inner, int | float):
            return next(numbers)
        if dataclasses.is_dataclass(inner) and not isinstance(inner, type):
            own = {each.name: getattr(inner, each.name) for each in dataclasses.fields(inner)}
            return dataclasses.replace(inner, **fields(own))
        if isinstance(inner, PowerSample):
            return PowerSample(inner.time, next(numbers))
        if isinstance(inner, list | tuple):
            inner = type(inner)(changed(each, name) for each in inner)
        return fields(inner) if isinstance(inner, Mapping) else inner

    return changed(value, "")


@contextlib.contextmanager
def serving(answer: Callable[[str, Mapping[str, str]], str]) -> Iterator[str]:
    """Serve JSON by path and parameters, of the query or of a form; give the server's URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            self._reply(path, query)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self._reply(self.path, self.rfile.read(length).decode())

        def _reply(self, path: str, query: str) -> None:
            body = answer(path, dict(urllib.parse.parse_qsl(query))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
