"""What ``gpumon check`` judges by: one pure function for each check, from a snapshot to findings.

``model`` has the words, ``node``, ``gpu``, ``memory``, ``links`` and ``power`` the checks,
``registry`` lists them, ``report`` runs them and says what follows. The thresholds are those of
the alerts (``thresholds.toml``), and each finding names the alert whose runbook goes with it.
"""

from gpumon.checks.judgement import Judgement, judge
from gpumon.checks.model import Check, Finding, Level, Observation, Verdict
from gpumon.checks.registry import CHECKS, chosen

__all__ = [
    "CHECKS",
    "Check",
    "Finding",
    "Judgement",
    "Level",
    "Observation",
    "Verdict",
    "chosen",
    "judge",
]
