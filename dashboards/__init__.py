"""Grafana dashboards as code: ``python -m dashboards`` writes them to ``dashboards/json``.

Panels are built from the catalogue of metrics, so a metric that is renamed stops the build instead
of leaving a panel empty.
"""

from __future__ import annotations

import warnings

# The SDK calls its classic dashboard deprecated. It is the one schema that every Grafana from 9.5
# on loads, so it is what we write; the warning is given while these two are imported.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import grafana_foundation_sdk.builders.dashboard
    import grafana_foundation_sdk.builders.timeseries  # noqa: F401
