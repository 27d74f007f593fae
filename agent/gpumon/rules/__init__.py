"""Recording and alert rules: written once, rendered for a site's thresholds and its rule engine.

``source/*.yml`` are rules as Prometheus knows them, with a reason (``why``) beside each, names of
thresholds in place of numbers, and one line for what is repeated at every level of the fleet.
"""

from gpumon.rules.model import Alert, RecordingRule, Rule, RuleGroup
from gpumon.rules.render import Rendering, render, render_one
from gpumon.rules.source import load, load_all

__all__ = [
    "Alert",
    "RecordingRule",
    "Rendering",
    "Rule",
    "RuleGroup",
    "load",
    "load_all",
    "render",
    "render_one",
]
