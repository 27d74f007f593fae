"""``gpumon agent``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gpumon.cli.base import declare, default_state_dir
from gpumon.cli.completing import models
from gpumon.cli.settings import declared, given
from gpumon.config import settings_of
from gpumon.server.options import AgentOptions, manager_settings

if TYPE_CHECKING:
    from pathlib import Path

    from gpumon.sources.spec import SourceSpec

OWN = settings_of(AgentOptions)
OF_MANAGERS = manager_settings()


@declare(
    "agent",
    "gpumon agent\n"
    "gpumon agent --web.listen-address 127.0.0.1:9842\n"
    "gpumon agent --source sim:8xH100,workload=training",
)
@declared({**OWN, **OF_MANAGERS}, source={"shell_complete": models})
@click.pass_context
def agent(ctx: click.Context, /, **values: Any) -> None:
    """Read this machine's GPUs and serve them to Prometheus.

    Serves a live page at /, metrics at /metrics, the last readings as JSON at /api/v1/snapshot,
    and its own state at /-/healthy and /-/ready. Without a driver it waits for one.
    """
    import asyncio
    import logging

    from gpumon.logs import configure_logging
    from gpumon.server.process import serve
    from gpumon.web.listen import bind, url_of

    configure_logging(debug=bool(ctx.parent and ctx.parent.params["debug"]))
    options = _options(values)
    with bind(options.listen) as sock:
        logging.getLogger("gpumon").info("serving %s on %s", options.source, url_of(sock))
        asyncio.run(serve(options, sock))


def _options(values: dict[str, Any]) -> AgentOptions:
    """Return the settings as the agent takes them, with what holds if nobody gave a value."""
    from gpumon.config import node_name

    own = given(OWN, values)
    return AgentOptions(
        **{
            **own,
            "node": node_name(own.get("node")),
            "state_dir": own.get("state_dir") or default_state_dir(),
            "kernel_log": _kernel_log(own.get("kernel_log"), own["source"]),
            "workload_settings": given(OF_MANAGERS, values),
        }
    )


def _kernel_log(log: Path | None, source: SourceSpec) -> Path | None:
    """Return the log to read: only a real machine's driver writes to this one's kernel log."""
    from gpumon.kernellog import DEVICE

    if log is not None:
        return None if str(log) == "none" else log
    return DEVICE if source.row.kernel_log else None


command = agent
