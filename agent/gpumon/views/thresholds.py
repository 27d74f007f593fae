"""The thresholds in force: ``gpumon rules thresholds``."""

from __future__ import annotations

from gpumon.documents.thresholds import to_document
from gpumon.documents.write import json_text
from gpumon.thresholds import Thresholds, Value, shipped


def render_thresholds(thresholds: Thresholds, form: str) -> str:
    """Return all thresholds as ``table`` or ``json``; a site's own are marked."""
    usual = shipped().values
    own = [name for name, value in thresholds.values.items() if value != usual[name]]
    if form == "json":
        return json_text({**to_document(thresholds), "own": own})
    return "".join(
        f"{name} = {_shown(value)}{_mark(usual[name]) if name in own else ''}\n"
        for name, value in thresholds.values.items()
    )


def _shown(value: Value) -> str:
    return repr(value) if isinstance(value, str) else f"{value:g}"


def _mark(usual: Value) -> str:
    return f"  # a site's own; it ships as {_shown(usual)}"
