"""A source for another vendor's GPUs; it exists in the tests only, to prove that the seam holds."""

from __future__ import annotations

from typing import Any


def open_source(spec: Any, clock: Any, tier: Any, patience: Any) -> Any:
    """Open the machine's two GPUs."""
    from gpumon.sources.acme.source import AcmeSource

    return AcmeSource(clock, patience)


def possible_origins(field: str) -> list[str]:
    """Return the call of the vendor's library that a field comes from."""
    return {"power_watts": ["acme_socket_power"], "energy_joules": ["acme_energy_count"]}.get(
        field, []
    )
