"""The dashboards there are, and the files they are written to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dashboards import fleet, gpu, health, job, monitor, node, power, usage
from dashboards.kit.limits import Limit
from gpumon.grafana.limits import FILE, with_thresholds
from gpumon.grafana.shipped import text_of
from gpumon.thresholds import shipped

FOLDER = Path(__file__).parent / "json"
THRESHOLDS = Path(__file__).parents[1] / FILE

DASHBOARDS = (
    fleet.dashboard,
    power.dashboard,
    usage.dashboard,
    job.dashboard,
    node.dashboard,
    gpu.dashboard,
    health.dashboard,
    monitor.dashboard,
)
"""In the order in which people open them: each from the last."""


def files() -> dict[str, str]:
    """Return every file's text by name, with the thresholds that ship; the name is the uid."""
    return {
        f"{uid}.json": text_of(with_thresholds(document, templates(document), shipped()))
        for uid, document in _documents().items()
    }


def thresholds_file() -> str:
    """Return the text of the file that says where thresholds stand in the others."""
    return text_of({uid: templates(document) for uid, document in _documents().items()})


def _documents() -> dict[str, dict[str, Any]]:
    """Return every dashboard by its uid, with placeholders for thresholds."""
    documents = (_plain(build()) for build in DASHBOARDS)
    return {document["uid"]: document for document in documents}


def _plain(value: Any) -> Any:
    """Return the SDK's models as JSON has them."""
    to_json = getattr(value, "to_json", None)
    if callable(to_json):
        return _plain(to_json())
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.placeholder if isinstance(value, Limit) else value


def templates(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the places of a dashboard at which placeholders stand, and what stands there."""
    return {pointer: text for pointer, text in _texts(document, "") if "<<" in text}


def _texts(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield all texts with their places (RFC 6901)."""
    if isinstance(value, str):
        yield pointer, value
        return
    inner: Any = ()
    if isinstance(value, Mapping):
        inner = ((key.replace("~", "~0").replace("/", "~1"), each) for key, each in value.items())
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, each in inner:
        yield from _texts(each, f"{pointer}/{key}")
