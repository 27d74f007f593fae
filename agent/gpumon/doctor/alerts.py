"""Which alerts cannot fire on this node, by what its agent serves."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator, Mapping, Sequence

from gpumon.doctor.agent import ask
from gpumon.doctor.facts import AlertFeeds
from gpumon.rules.feeds import Need, Selector, needs
from gpumon.rules.source import load
from gpumon.thresholds import shipped

_GPU = "gpumon_gpu_"
_SAMPLE = re.compile(r"^([a-z_:]+)(?:\{(.*)\})? ([^ ]+)$", re.MULTILINE)
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

Samples = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]
"""The samples of each metric: labels and value."""


def alerts(url: str, metrics: str) -> AlertFeeds:
    """Ask the agent for its metrics, and return which alerts find nothing to read in them."""
    try:
        answer = ask(url, metrics)
    except (OSError, ValueError, http.client.HTTPException):
        return AlertFeeds(problem="no agent responds")
    if answer.status != 200:
        return AlertFeeds(problem=f"the agent replies {answer.status}")
    return feeds(answer.text)


def feeds(text: str) -> AlertFeeds:
    """Return which alerts find nothing to read in an exposition."""
    wanted = needs(load(shipped()))
    names = {selector.metric for need in wanted.values() for one in need for selector in one}
    samples = _samples(text, names | {"gpumon_gpu_up"})
    up = [labels for labels, value in samples.get("gpumon_gpu_up", ()) if value == 1]
    deaf: dict[str, dict[str, tuple[int, ...]]] = {}
    for alert, need in wanted.items():
        gpus = [labels for labels in up if not any(_met(one, labels, samples) for one in need)]
        if gpus:
            missing = _missing(need, gpus[0], samples)
            deaf.setdefault(missing, {})[alert] = tuple(int(labels["gpu"]) for labels in gpus)
    return AlertFeeds(gpus=len(up), alerts=len(wanted), deaf=deaf)


def _samples(text: str, names: set[str]) -> Samples:
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for name, labels, value in _SAMPLE.findall(text):
        if name in names:
            found.setdefault(name, []).append((dict(_LABEL.findall(labels)), float(value)))
    return found


def _met(need: Need, gpu: Mapping[str, str], samples: Samples) -> bool:
    """Return whether all that a need selects is there, of a GPU if it is a GPU's."""
    return all(_there(selector, gpu, samples) for selector in need)


def _there(selector: Selector, gpu: Mapping[str, str], samples: Samples) -> bool:
    return any(
        selector.takes(labels)
        and (not selector.metric.startswith(_GPU) or labels.get("uuid") == gpu.get("uuid"))
        for labels, _ in samples.get(selector.metric, ())
    )


def _missing(need: Sequence[Need], gpu: Mapping[str, str], samples: Samples) -> str:
    """Say what is not there, of the need that comes first."""
    return " and ".join(_unmet(need[0], gpu, samples))


def _unmet(need: Need, gpu: Mapping[str, str], samples: Samples) -> Iterator[str]:
    for selector in sorted(need):
        if not _there(selector, gpu, samples):
            yield str(selector)
