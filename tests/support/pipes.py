"""A pipe whose reader has gone, as ``| head`` leaves it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unread() -> Iterator[int]:
    """Yield the end to write to, where nothing can be written any more."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)
