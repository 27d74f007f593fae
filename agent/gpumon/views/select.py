"""The GPUs that somebody named, of all of a node."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gpumon.errors import UsageError
from gpumon.model import Snapshot


def split(names: str | None) -> tuple[str, ...]:
    """Return the indexes or UUIDs of ``--gpu 0,3``; none if none is named."""
    return tuple(name.strip() for name in names.split(",")) if names else ()


def only(snapshot: Snapshot, gpus: Sequence[str]) -> Snapshot:
    """Return a snapshot with the GPUs of some indexes or UUIDs; all if none is named.

    Raises UsageError if one is not there.
    """
    if not gpus:
        return snapshot
    there = {
        key: gpu.identity.index
        for gpu in snapshot.gpus
        for key in (str(gpu.identity.index), gpu.identity.uuid)
    }
    for name in gpus:
        if name not in there:
            known = ", ".join(str(gpu.identity.index) for gpu in snapshot.gpus) or "none"
            raise UsageError(f"no GPU {name} here", f"there are: {known}")
    chosen = {there[name] for name in gpus}
    kept = tuple(gpu for gpu in snapshot.gpus if gpu.identity.index in chosen)
    # Fewer than the node's are asked for, so none of them is missing.
    return dataclasses.replace(snapshot, gpus=kept, gpus_expected=None)
