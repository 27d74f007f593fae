"""``gpumon site``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpumon.cli.base import declare, option
from gpumon.cli.thresholds import in_site, thresholds_option

if TYPE_CHECKING:
    from gpumon.thresholds import Thresholds


@declare(
    "site",
    "gpumon site --site /etc/gpumon/site.toml\ngpumon site --site site.toml --check",
)
@option(
    "--site",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("/etc/gpumon/site.toml"),
    metavar="FILE",
    help="Nodes, budgets, prices and factors; read again when it changes.",
)
@click.option("--check", is_flag=True, help="Read the file, print a summary and exit.")
@option(
    "--web.listen-address",
    "listen_address",
    default=":9843",
    metavar="ADDRESS",
    help="HOST:PORT, :PORT or [IPv6]:PORT to serve on.",
)
@option(
    "--web.config.file",
    "web_config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TLS, client certificates and passwords (exporter-toolkit's format).",
)
@thresholds_option("The site's own thresholds (TOML), in place of those that site.toml names.")
@click.pass_context
def site(
    ctx: click.Context,
    path: Path,
    listen_address: str,
    web_config: Path | None,
    thresholds: Thresholds | None,
    *,
    check: bool,
) -> None:
    """Serve a site's nodes, budgets, prices and factors to Prometheus.

    The metrics are at /metrics; the agents to scrape, with their racks and rows, are at
    /api/v1/targets (for http_sd_configs).
    """
    import asyncio
    import logging

    from gpumon.logs import configure_logging
    from gpumon.site.config import load_site
    from gpumon.web.listen import bind, parse_listen_address, url_of

    if check:
        found = load_site(path)
        racks = {node.rack for node in found.nodes if node.rack}
        gpus = sum(node.expected_gpus or 0 for node in found.nodes)
        click.echo(
            f"{path}: {len(found.nodes)} nodes in {len(racks)} racks with {gpus} GPUs, "
            f"{len(found.budgets)} budgets"
        )
        return
    from gpumon.site.service import serve_site

    complete = functools.partial(in_site, ctx, thresholds)
    configure_logging(debug=bool(ctx.parent and ctx.parent.params["debug"]))
    # A file that is wrong is an error before anybody connects.
    complete(load_site(path))
    with bind(parse_listen_address(listen_address)) as sock:
        logging.getLogger("gpumon").info("serving %s on %s", path, url_of(sock))
        asyncio.run(serve_site(path, sock, web_config, complete))


command = site
