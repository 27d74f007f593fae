"""Everything the agent can be set to: each setting is declared here, once.

The command line, the variables, the configuration file, the file that ``gpumon install`` writes and
the table in docs/operating.md follow from it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gpumon import workloads
from gpumon.config import Setting, Shape, setting
from gpumon.errors import UsageError
from gpumon.model import Tier
from gpumon.sources.kinds import DEFAULT
from gpumon.sources.spec import SourceSpec
from gpumon.thresholds import Thresholds, load_thresholds, shipped
from gpumon.web.listen import DEFAULT_PORT, parse_listen_address


def _path(value: str) -> str:
    if not value.startswith("/") or value == "/":
        raise UsageError(f"--web.telemetry-path {value!r}", "it begins with / and is not /")
    return value


def _managers() -> str:
    """Return the workload managers, each with what it is."""
    return ", ".join(f"{manager.name} ({manager.summary})" for manager in workloads.MANAGERS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """The agent's settings, parsed.

    ``listen`` is only the command line's: who starts a server gives it a socket. ``kernel_log`` is
    None for no log at all; ``state_dir`` is None to keep everything in memory;
    ``workload_settings`` are the options of the workload managers, by their keys.
    """

    source: SourceSpec = setting(
        "--source",
        "nvml, sim:SPEC or replay:FILE[,gpus=8][,speed=60][,loop][,tz=+01:00].",
        default=DEFAULT,
        metavar="SOURCE",
        parse=SourceSpec.parse,
    )
    node: str = setting(
        "--node",
        "What this node is called on pages, in documents and in reports; never a label.",
        value="",
        otherwise="the host's name",
        metavar="NAME",
        note="in a pod, the node's name (`spec.nodeName`)",
    )
    listen: tuple[str, int] = setting(
        "--web.listen-address",
        "The address that the server listens on.",
        value=("", DEFAULT_PORT),
        default=f":{DEFAULT_PORT}",
        metavar="[HOST]:PORT",
        parse=parse_listen_address,
        note="`HOST:PORT`, `:PORT` or `[IPv6]:PORT`",
    )
    telemetry_path: str = setting(
        "--web.telemetry-path",
        "The path of the metrics.",
        value="/metrics",
        default="/metrics",
        metavar="PATH",
        parse=_path,
    )
    web_config: Path | None = setting(
        "--web.config.file",
        "TLS, client certificates and passwords, in the format of Prometheus's exporters.",
        Shape.FILE,
        value=None,
        note="[web-config.md](web-config.md)",
    )
    expose_users: bool = setting(
        "--web.expose-users",
        "Show the users and names of jobs and processes to everyone who can reach the agent.",
        Shape.SWITCH,
        value=False,
    )
    interval: float = setting(
        "--interval",
        "How often the GPUs are read. A scrape reads nothing.",
        Shape.SECONDS,
        value=1.0,
        default=1.0,
        bounds=(0.1, 5),
    )
    tier: Tier = setting(
        "--tier",
        "How much is exposed (core, standard, full); see gpumon metrics.",
        Shape.CHOICE,
        value=Tier.STANDARD,
        default="standard",
        choices=tuple(tier.word for tier in Tier),
        parse=lambda word: Tier[word.upper()],
    )
    expected_gpus: int | None = setting(
        "--expected-gpus",
        "GPUs this node should have.",
        Shape.COUNT,
        value=None,
        otherwise="the most seen in seven days",
    )
    state_dir: Path | None = setting(
        "--state-dir",
        "The folder of the agent's memory.",
        Shape.FOLDER,
        value=None,
        otherwise="$XDG_STATE_HOME/gpumon",
        note="the service: `/var/lib/gpumon`",
    )
    kernel_log: Path | None = setting(
        "--kernel-log",
        "The log that the kernel's Xids are read from: a file, a pipe, or none.",
        Shape.FILE,
        value=None,
        otherwise="/dev/kmsg for nvml",
    )
    node_overhead_watts: float | None = setting(
        "--node-overhead-watts",
        "What the node draws beyond GPUs and CPUs (fans, network, disks, losses), if no BMC or "
        "power meter measures the whole.",
        Shape.WATTS,
        value=None,
    )
    workload_manager: str = setting(
        "--workload-manager",
        f"What reports which job holds which GPU: {_managers()}. auto takes what is found.",
        Shape.CHOICE,
        value=workloads.AUTO,
        default=workloads.AUTO,
        choices=workloads.names(),
        note="[workloads.md](workloads.md)",
    )
    thresholds: Thresholds = setting(
        "--thresholds",
        "A site's own thresholds (TOML): of the page, of the ledger's line between active and "
        "idle, and of viewers that ask this agent.",
        Shape.FILE,
        factory=shipped,
        otherwise="those that ship",
        parse=load_thresholds,
        note="[below](#a-sites-own-thresholds)",
    )
    workload_settings: workloads.Settings = dataclasses.field(default_factory=dict)


def manager_settings() -> dict[str, Setting]:
    """Return the options of the workload managers as settings, by their keys."""
    return {
        option.key: Setting(
            flag=option.flag,
            help=option.help,
            shape=Shape.FOLDER if option.folder else Shape.FILE,
            default=option.default,
            metavar=option.metavar,
        )
        for option in workloads.options()
    }
