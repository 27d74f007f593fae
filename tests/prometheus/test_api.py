"""What a Prometheus answers, as series of numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from gpumon.prometheus.api import PrometheusApi, Series
from tests.support.strange import serving


def answering(values: Mapping[str, Sequence[str]]) -> str:
    """Return Prometheus's answer: a series each, with a value at each second."""
    result = [
        {
            "metric": {"gpu": gpu},
            "value": [1, points[-1]],
            "values": [[second, value] for second, value in enumerate(points)],
        }
        for gpu, points in values.items()
    ]
    return json.dumps({"status": "success", "data": {"result": result}})


def test_what_is_not_a_number_is_not_a_point() -> None:
    """0/0, a budget of 0 watts: such a value is not known, and such a series is not there."""
    values = {"0": ["1", "NaN", "3"], "1": ["+Inf", "-Inf", "NaN"], "2": ["5", "6", "+Inf"]}
    with serving(lambda *_: answering(values)) as url, PrometheusApi(url) as api:
        assert api.instant("up", 1) == [Series({"gpu": "0"}, [(1.0, 3.0)])]
        assert api.range("up", 0, 2, 1) == [
            Series({"gpu": "0"}, [(0.0, 1.0), (2.0, 3.0)]),
            Series({"gpu": "2"}, [(0.0, 5.0), (1.0, 6.0)]),
        ]
