"""The thresholds in force as a document, by which a viewer of an agent judges as the agent does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpumon.errors import UsageError
from gpumon.thresholds import Thresholds, with_own, wrong

DIGEST_HEADER = "gpumon-thresholds"
"""The header of an agent's snapshot that holds the digest: a viewer that knows those thresholds
need not ask for them again."""


def to_document(thresholds: Thresholds) -> dict[str, Any]:
    """Return all thresholds; ``seconds`` has those that are durations as numbers, too."""
    return {
        "digest": thresholds.digest,
        "values": dict(thresholds.values),
        "seconds": thresholds.durations(),
    }


def from_document(document: object) -> Thresholds:
    """Return the thresholds of a document; UsageError if it is not one of these.

    An agent of another version may have more thresholds than this one knows, or fewer: what is not
    known here is left out, and what is missing there is as it ships here.
    """
    values = document.get("values") if isinstance(document, Mapping) else None
    if not isinstance(values, Mapping):
        raise UsageError("this is not a document of thresholds")
    known = with_own({}).values
    own = {name: value for name, value in values.items() if name in known}
    for name, value in own.items():
        wanted = wrong(name, value)
        if wanted:
            raise UsageError(f"{name} = {value!r}", f"it is {wanted}")
    return with_own(own)
