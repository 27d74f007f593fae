"""The published schema of what commands print with ``-o json``."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "docs" / "schema.json"


@functools.cache
def published() -> dict[str, Any]:
    """Return the schema, which takes any of the documents."""
    schema: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return schema


@functools.cache
def definition(name: str) -> dict[str, Any]:
    """Return the schema of one kind of document."""
    assert name in published()["$defs"]
    return {
        "$schema": published()["$schema"],
        "$ref": f"#/$defs/{name}",
        "$defs": published()["$defs"],
    }
