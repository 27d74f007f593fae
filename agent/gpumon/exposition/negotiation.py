"""Which of the two text formats a scraper wants."""

from __future__ import annotations

import enum
import functools

from prometheus_client.exposition import (
    CONTENT_TYPE_LATEST,
    choose_encoder,
)


class Format(enum.Enum):
    """The two formats; their value is the media type."""

    TEXT = CONTENT_TYPE_LATEST
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@functools.lru_cache(maxsize=64)
def negotiate(accept: str) -> Format:
    """Return the format that an Accept header asks for."""
    _, content_type = choose_encoder(accept)
    openmetrics = content_type.startswith("application/openmetrics-text")
    return Format.OPENMETRICS if openmetrics else Format.TEXT
