"""The checks of what only a node's agent knows: its clock, its collectors, its memory of Xids."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpumon.checks import Level, chosen, judge
from gpumon.documents.snapshot import from_document, to_document
from gpumon.model import AgentFacts, NvswitchReading
from tests.checks.test_checks import AGENT, NODE, TIME, observed, verdicts

SWITCH = NvswitchReading(
    nvswitch=3,
    pci_bus_id="0000:05:00",
    sxid_errors={("20034", "fatal"): 1},
    sxid_last_timestamp_seconds={"20034": TIME - 86_400},
)


class TestAgent:
    """What only the node's agent knows."""

    @pytest.mark.parametrize(
        ("check", "changes", "level", "words", "alert"),
        [
            ("clock", {"clock_synchronized": False}, "warn", "nothing sync", "ClockWrong"),
            ("clock", {"clock_offset_seconds": -61.0}, "warn", "61 s behind", "ClockWrong"),
            ("clock", {"clock_offset_seconds": 90.0}, "warn", "90 s ahead", "ClockWrong"),
            ("clock", {"clock_offset_seconds": 59.0}, "pass", "synchronized", ""),
            ("clock", {"clock_synchronized": None}, "skip", "whether its clock", ""),
            ("xid-address", {"unattributed_xids": 2}, "warn", "2 Xids", "XidUnattributed"),
            ("xid-address", {"unattributed_xids": None}, "skip", "agent was not asked", ""),
            ("collectors", {"collectors": {"ipmi": False}}, "warn", "ipmi", "CollectorFailing"),
            (
                "collectors",
                {"collectors": {"slurm": False}},
                "warn",
                "slurm does not say",
                "WorkloadManagerSilent",
            ),
            ("collectors", {"collectors": {"reader": False}}, "pass", "1 collectors", ""),
            (
                "nvswitch",
                {
                    "nvswitches": (
                        NvswitchReading(
                            nvswitch=3,
                            pci_bus_id="0000:05:00",
                            sxid_errors={("20034", "fatal"): 1, ("12028", "non_fatal"): 5},
                            sxid_last_timestamp_seconds={"20034": TIME - 60, "12028": TIME - 9},
                        ),
                    )
                },
                "fail",
                "NVSwitch 3: fatal SXid 20034 60 s ago",
                "NvswitchFatalError",
            ),
            (
                "nvswitch",
                {"nvswitches": (dataclasses.replace(SWITCH, sxid_unresolved={"20034": 1}),)},
                "fail",
                "NVSwitch 3: fatal SXid 20034 24 h ago",
                "NvswitchFatalError",
            ),
            (
                "nvswitch",
                {"nvswitches": (dataclasses.replace(SWITCH, sxid_unresolved={"20034": 0}),)},
                "pass",
                "none since the last reset",
                "",
            ),
        ],
    )
    def test_it_is_judged(
        self, check: str, changes: dict[str, Any], level: str, words: str, alert: str
    ) -> None:
        """Of the node, by the numbers of the alerts."""
        seen = observed(agent=dataclasses.replace(AGENT, **changes))
        (found,) = judge(seen, chosen([check], [])).verdicts[:1]
        assert (found.level.value, found.gpu, found.alert) == (level, None, alert)
        assert words in found.evidence

    @pytest.mark.parametrize("collectors", [{}, {"kernel_log": False}])
    def test_without_a_kernel_log_nobody_knows_of_nvswitches(
        self, collectors: dict[str, bool]
    ) -> None:
        """As the alert cannot fire there; with one, no SXid is good news."""
        for known, level in ((collectors, Level.SKIP), ({"kernel_log": True}, Level.PASS)):
            agent = dataclasses.replace(AGENT, collectors=known)
            report = judge(observed(agent=agent), chosen(["nvswitch"], []))
            assert [v.level for v in report.verdicts] == [level]

    @pytest.mark.parametrize("check", ["clock", "xid-address", "collectors", "nvswitch", "stray"])
    def test_without_an_agent_it_is_not_known(self, check: str) -> None:
        """Which is never a pass."""
        report = judge(observed(agent=None), chosen([check], []))
        assert {v.level for v in report.verdicts if v.check == check} == {Level.SKIP}

    @pytest.mark.parametrize(
        "agent",
        [
            dataclasses.replace(AGENT, manager=""),
            dataclasses.replace(AGENT, manager="processes"),
            dataclasses.replace(AGENT, collectors={"slurm": False}),
            dataclasses.replace(AGENT, unresolved_jobs=1),
        ],
    )
    def test_a_stray_process_is_one_by_the_word_of_a_manager(self, agent: AgentFacts) -> None:
        """Without one that is heard, and knows the GPUs of all jobs, nobody says who may use it."""
        found = verdicts(observed({"processes": 2, "jobs": ()}, agent=agent), "stray")
        assert [v.level for v in found] == [Level.SKIP]

    def test_a_job_whose_gpus_are_not_known_clears_the_others(self) -> None:
        """A GPU without a process, and one that a job holds, are right all the same."""
        agent = dataclasses.replace(AGENT, unresolved_jobs=1)
        for changes in ({"processes": 0, "jobs": ()}, {"processes": 2, "jobs": ("4711",)}):
            found = verdicts(observed(changes, agent=agent), "stray")
            assert [v.level for v in found] == [Level.PASS]

    def test_it_is_in_the_document(self) -> None:
        """So that whoever asks the agent judges by it; one of an older agent has none."""
        switch = NvswitchReading(
            nvswitch=3,
            pci_bus_id="0000:05:00",
            sxid_errors={("20034", "fatal"): 1},
            sxid_last_timestamp_seconds={"20034": TIME},
        )
        agent = dataclasses.replace(AGENT, nvswitches=(switch,), unresolved_jobs=2)
        document = to_document(dataclasses.replace(NODE, agent=agent))
        assert from_document(document).agent == agent
        del document["agent"]["unresolved_jobs"]
        older = from_document(document).agent
        assert older == dataclasses.replace(agent, unresolved_jobs=None)
        del document["agent"]
        assert from_document(document).agent is None
