"""A node to look at: the agent, and Prometheus beside it where there is one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from gpumon.assets import asset
from gpumon.config import node_name
from gpumon.errors import GpumonError
from gpumon.server.node import Node
from gpumon.server.options import AgentOptions
from gpumon.server.process import serve
from gpumon.sources import open_source
from gpumon.sources.kinds import DEFAULT
from gpumon.sources.spec import SourceSpec
from gpumon.targets.target import open_target
from gpumon.thresholds import Thresholds
from gpumon.web.listen import DEFAULT_PORT, bind, url_of

SIMULATED = "sim:8xH100,workload=mixed"

_SHIPPED_TARGET = f"127.0.0.1:{DEFAULT_PORT}"


def best_source() -> SourceSpec:
    """Return this machine's GPUs if the driver shows any, else simulated ones."""
    try:
        with open_target(DEFAULT) as target:
            if target.read().gpus:
                return SourceSpec(DEFAULT)
    except GpumonError:
        pass
    return SourceSpec.parse(SIMULATED)


async def run(
    source: SourceSpec,
    listen: tuple[str, int],
    duration: float | None,
    *,
    with_prometheus: bool,
    thresholds: Thresholds,
    say: Callable[[str], None],
) -> None:
    """Serve a node for ``duration`` seconds, or until a signal; ``say`` gets lines for people.

    Raises UsageError for a source that makes no sense, before it says anything.
    """
    if not source.row.may_hang:
        open_source(source).close()
    stop = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="gpumon-demo-") as folder, bind(listen) as sock:
        url = url_of(sock)

        def started(_: Node) -> None:
            if source.row.simulated:
                say("No GPU is read: what you see is SIMULATED.")
            say(f"Live page:  {url}\nMetrics:    {url}metrics")
            if duration is not None:
                asyncio.get_running_loop().call_later(duration, stop.set)

        options = AgentOptions(
            source=source,
            state_dir=Path(folder) / "state",
            thresholds=thresholds,
            node=node_name(),
        )
        async with _prometheus(url, Path(folder), say) if with_prometheus else _nothing():
            await serve(options, sock, stop=stop, started=started)


@contextlib.asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def _prometheus(url: str, folder: Path, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Run Prometheus with the configuration that ships, looking at this agent."""
    program = shutil.which("prometheus")
    if program is None:
        say("Prometheus is not on the PATH: the demo goes without it.")
        yield
        return
    shipped = asset("deploy/prometheus/prometheus.yml")
    config = folder / "prometheus.yml"
    target = url.removeprefix("http://").rstrip("/")
    text = shipped.read_text("utf-8").replace(_SHIPPED_TARGET, target)
    config.write_text(text, "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = (folder / "prometheus.log").open("wb")
    with log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        say(f"Prometheus: http://127.0.0.1:{port}/graph?g0.expr=gpumon_gpu_power_watts&g0.tab=0")
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
