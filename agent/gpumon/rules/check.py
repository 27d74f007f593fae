"""Are rules fit to be loaded: what promtool says, and whether each metric they read exists."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gpumon.errors import UnavailableError
from gpumon.rules.render import Rendering, render
from gpumon.rules.source import load
from gpumon.thresholds import Thresholds

PROMTOOL_SECONDS = 60.0

PROMETHEUS_OWN = frozenset(
    {"up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"}
)
"""Series that Prometheus makes of every scrape."""

AGENT_OWN = frozenset(
    {
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "gpumon_reader_process_cpu_seconds_total",
        "gpumon_reader_process_resident_memory_bytes",
    }
)
"""What the agent's two processes cost, as the client library names it."""

_METRIC = re.compile(r"(?<![\w:])((?:[a-z_]+:)?gpumon_[a-z0-9_]+(?::[a-z0-9_]+)?)(?![\w:])")


@dataclasses.dataclass(frozen=True, slots=True)
class Problems:
    """What is wrong, a line each, and one line on what was looked at."""

    found: tuple[str, ...]
    verdict: str


def problems_of_ours(thresholds: Thresholds) -> Problems:
    """Return what is wrong with the rules as they would be written for these thresholds."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in render(load(thresholds), Rendering()).items():
            path = Path(folder, name)
            path.write_text(text, "utf-8")
            paths.append(path)
        return problems_of_files(paths)


def problems_of_files(paths: Sequence[Path]) -> Problems:
    """Return what is wrong with rule files; UnavailableError if one cannot be read."""
    documents = {path: _read(path) for path in paths}
    rules = [(path, rule) for path, found in documents.items() for rule in _rules(found)]
    recorded = {rule["record"] for _, rule in rules if "record" in rule}
    found = [
        f"{path.name}: {rule.get('alert') or rule.get('record')}: {name} is neither in the "
        "catalogue nor recorded by these files"
        for path, rule in rules
        for name in sorted(
            metrics_of(str(rule.get("expr", ""))) - recorded - AGENT_OWN - _catalogue()
        )
    ]
    found += [f"{path.name}: no groups of rules" for path, d in documents.items() if not _rules(d)]
    promtool = shutil.which("promtool")
    if promtool:
        found += _promtool(promtool, documents)
    how = "with promtool" if promtool else "without promtool, which is not on the PATH"
    count = len(rules)
    verdict = f"{count} rules in {len(paths)} files checked {how}: {len(found)} problems"
    return Problems(tuple(found), verdict)


def metrics_of(expr: str) -> set[str]:
    """Return the metrics of ours that an expression reads, recorded ones among them."""
    return set(_METRIC.findall(re.sub(r'"(?:[^"\\]|\\.)*"', '""', expr)))


def _catalogue() -> set[str]:
    from gpumon.model import Tier
    from gpumon.model.catalogue import rows

    return {metric.name for _, metric in rows(Tier.FULL)}


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise UnavailableError(f"cannot read {path} ({error.strerror})", "name a file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnavailableError(f"{path} is not YAML ({error})".replace("\n", " ")) from None


def _rules(document: Any) -> list[dict[str, Any]]:
    """Return the rules of a document, or of a PrometheusRule object; none if it is neither."""
    try:
        groups: Iterable[Any] = (document.get("spec") or document)["groups"]
        return [dict(rule) for group in groups for rule in group["rules"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        return []


def _promtool(program: str, documents: Mapping[Path, Any]) -> list[str]:
    """Return what promtool finds in the groups of each document, a PrometheusRule's too."""
    found = []
    for path, document in documents.items():
        if not _rules(document):
            continue
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, path.name)
            groups = (document.get("spec") or document)["groups"]
            file.write_text(yaml.safe_dump({"groups": groups}), "utf-8")
            try:
                done = subprocess.run(
                    [program, "check", "rules", str(file)],
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=PROMTOOL_SECONDS,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise UnavailableError(f"promtool does not answer ({error})") from None
        if done.returncode:
            lines = (done.stdout + done.stderr).replace(f"{folder}/", "").splitlines()
            said = [line.strip() for line in lines if line.strip()]
            found += [line for line in said if "Checking" not in line] or [
                f"{path.name}: promtool ended with {done.returncode}"
            ]
    return found
