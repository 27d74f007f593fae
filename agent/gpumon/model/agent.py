"""What the agent reports about itself: its source, its reader, its collectors."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping

from gpumon import __version__
from gpumon.model import LedgerRule, SourceInfo, Tier
from gpumon.model.metric import counter, gauge, info, metric_group


@dataclasses.dataclass(frozen=True, slots=True)
class BuildInfo:
    """The version of this program and of the Python it runs on."""

    version: str = __version__
    python_version: str = platform.python_version()


@dataclasses.dataclass(frozen=True, slots=True)
class BootInfo:
    """The kernel's random name of a boot."""

    boot_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class WorkloadInfo:
    """What reports which job holds which GPU."""

    manager: str


@dataclasses.dataclass(frozen=True, slots=True)
class ThresholdsInfo:
    """Which thresholds are in force: the same digest, the same values."""

    digest: str


@metric_group(prefix="gpumon")
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentReading:
    """The state of the agent at a scrape."""

    build: BuildInfo = info(
        "The agent's version.", labels=("version", "python_version"), required=True
    )
    source_info: SourceInfo | None = info(
        'Where the readings come from; source="sim" is simulated data.',
        labels=("source", "detail", "driver_version", "nvml_version", "cuda_version"),
        name="source",
    )
    thresholds_info: ThresholdsInfo | None = info(
        "Digest of the thresholds in force; /api/v1/thresholds lists the values.",
        labels=("digest",),
        name="thresholds",
    )
    source_up: bool = gauge(
        "1 while the source can be read; 0 without a driver, or when all of its calls hang.",
        tier=Tier.CORE,
        required=True,
    )
    released: bool = gauge(
        "1 while the agent has released the driver on purpose (gpumon release).",
        tier=Tier.CORE,
        required=True,
    )
    gpus: int = gauge(
        "GPUs that the source lists; a guest's vGPU is a part of one that its host counts.",
        tier=Tier.CORE,
        required=True,
    )
    gpus_expected: int | None = gauge(
        "GPUs this node should have: as declared, else the most that its source listed in seven "
        "days.",
        tier=Tier.CORE,
    )
    gpus_unlisted: Mapping[str, int] | None = gauge(
        "GPUs of this machine that the source does not list: another driver has them "
        "(passed_through, not expected here), or they came after NVML was initialized (late).",
        tier=Tier.CORE,
        labels=["reason"],
        keys=["passed_through", "late"],
    )
    collector_success: Mapping[str, int] = gauge(
        "1 if the collector's last run succeeded.",
        tier=Tier.CORE,
        labels=["collector"],
        required=True,
    )
    collector_duration_seconds: Mapping[str, float] = gauge(
        "How long the collector's last run took.", labels=["collector"], required=True
    )
    refused_readings: Mapping[str, int] | None = counter(
        "Readings that were left out because no such value is possible: of GPUs, of the host, or "
        "rows that the state file cannot keep.",
        tier=Tier.CORE,
        labels=["quantity"],
    )
    reader_restarts: int = counter(
        "Readers that were replaced because they died or hung.", tier=Tier.CORE
    )

    clock_synchronized: bool | None = gauge(
        "1 while something keeps this node's clock, 0 while nothing does: its events then have "
        "wrong times."
    )
    clock_offset_seconds: float | None = gauge(
        "How far this node's clock is ahead, as what keeps it reckons (chronyd, else the kernel); "
        "absent while nothing does."
    )
    boot_info: BootInfo | None = info(
        "The boot of this node: energy counters began again with it.",
        labels=("boot_id",),
        tier=Tier.STANDARD,
        name="boot",
    )
    unattributed_xids: int | None = gauge(
        "Xids not yet assigned to a GPU: no GPU has ever been seen at their PCI address.",
        tier=Tier.CORE,
    )

    workload_manager_info: WorkloadInfo | None = info(
        "What reports which job holds which GPU; gpumon_collector_success shows whether it works "
        "now.",
        labels=("manager",),
        name="workload_manager",
    )
    workload_manager_errors: int | None = counter(
        "Failed or malformed replies of the workload manager; what was known last stays in force.",
        tier=Tier.CORE,
    )
    workload_manager_unresolved_jobs: int | None = gauge(
        "Jobs here of which it is not known which GPUs they hold, or not of all; nobody pays for "
        "those. the agent's log gives the reason for each.",
    )
    ledger_info: LedgerRule | None = info(
        "How several holders of one GPU share its joules, and who gets those of a gap.",
        labels=("shared", "mig", "gap"),
        name="ledger",
    )
    ledger_corrections: Mapping[str, int] | None = counter(
        "Corrections of the ledger: device counters that were reset, or that jumped further than "
        "the power limit allows (rejected), and gaps whose joules belong to nobody.",
        tier=Tier.CORE,
        labels=["correction"],
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """No labels: there is one agent to an instance."""
        return ()
