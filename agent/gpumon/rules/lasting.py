"""Critical alerts that outlast their data: what was firing when they stopped goes on for an hour.

An alert resolves when its expression has no value, be it that the trouble is over or that the data
are gone. For critical ones the two are distinguished: the expression's value is recorded, and while
the alert fires its last value stands in for a value that is missing, unless the source's ``unless``
says that the data flow. So a trouble that ends ends at once, which a long ``keep_firing_for`` would
hold back, and one that can no longer be seen goes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LASTS = "1h"
"""How long a critical alert outlasts its data; telemetry that is lost has its own alert by then."""


def recorded_name(alert: str) -> str:
    """Return the name of the series that holds a critical alert's value."""
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", alert).lower()
    return f"critical:gpumon_{snake.removeprefix('gpumon_')}:value"


def outlasting(alert: str, lasts: Mapping[str, str]) -> str:
    """Return an alert's expression over its recorded value.

    ``lasts`` has ``by``, the labels that identify one of its alerts, and ``unless``, a
    matching and a vector: those whose data flow. The alert's own last state is what Prometheus
    (and vmalert, if it may read what it writes) keeps as ALERTS.
    """
    value = recorded_name(alert)
    known = "\n".join(f"  {line}" for line in lasts["unless"].strip().splitlines())
    return (
        f"{value}\n"
        "or\n"
        "(\n"
        f"  last_over_time({value}[{LASTS}])\n"
        f'  and on ({lasts["by"]}) ALERTS{{alertname="{alert}",alertstate="firing"}}\n'
        f"  unless\n{known}\n"
        ")"
    )
