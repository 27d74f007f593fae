"""One fleet for all tests of engines: what its nodes serve, and its layouts on both engines."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

import pytest

from tests.engines.layouts import Layout, Sink, on_prometheus, on_victoriametrics, writing
from tests.engines.programs import built
from tests.support.halls import expositions, serving


@dataclasses.dataclass(frozen=True)
class Fleet:
    """What the nodes serve, which may change, by path; and the layouts by engine."""

    texts: dict[str, str]
    layouts: Mapping[str, Layout]


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """All layouts, of the same samples."""
    built("prometheus")
    folder = tmp_path_factory.mktemp("engines")
    texts = expositions(tmp_path_factory.mktemp("node"))
    sinks: list[Sink] = []
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(serving(texts))
        layouts = {
            "prometheus": stack.enter_context(on_prometheus(folder / "p", sinks)),
            "victoriametrics": stack.enter_context(on_victoriametrics(folder / "v", sinks)),
        }
        stack.enter_context(writing(folder / "writer", address, sinks))
        yield Fleet(texts, layouts)
