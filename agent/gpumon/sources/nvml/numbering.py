"""The field ids that NVIDIA gave other numbers from one driver to another.

Compared over NVIDIA's own bindings, nvidia-ml-py 12.535 to 13.615: fields 251 to 273 moved with
driver 575 and moved back with 580.82; all others that gpumon reads agree. A binding's constants
are of its own driver, so the ids are chosen by the version of the driver that runs.
"""

from __future__ import annotations

import dataclasses
import re


@dataclasses.dataclass(frozen=True, slots=True)
class Numbering:
    """Ids of one range of drivers; None is a field that those do not have, or nobody knows.

    ``sw_thermal``, ``hw_thermal`` and ``hw_power_brake`` count nanoseconds of throttling,
    ``smoothing_lifetime`` is what is left of the power-smoothing circuit, in per cent.
    """

    sw_thermal: int | None = None
    hw_thermal: int | None = None
    hw_power_brake: int | None = None
    smoothing_lifetime: int | None = None


_UNKNOWN = Numbering()

_FROM: tuple[tuple[tuple[int, int], Numbering], ...] = (
    ((580, 82), Numbering(269, 270, 271, smoothing_lifetime=258)),
    ((580, 66), _UNKNOWN),  # no binding of these was published
    ((575, 0), Numbering(251, 252, 253, smoothing_lifetime=263)),
    ((0, 0), Numbering(smoothing_lifetime=258)),
)
"""From which driver on a numbering holds, the newest first."""


def numbering(driver_version: str) -> Numbering:
    """Return the ids of a driver (``580.105.08``); of one that does not report its version none."""
    found = re.match(r"(\d+)(?:\.(\d+))?", driver_version)
    if found is None:
        return _UNKNOWN
    version = int(found[1]), int(found[2] or 0)
    return next(ids for first, ids in _FROM if version >= first)
