"""``site.toml``: what it says, and what is said of one that is wrong."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from gpumon.errors import GpumonError
from gpumon.site.config import Site, load_site
from gpumon.site.nodes import merge, of_slurm
from gpumon.site.service import readings_of
from gpumon.workloads.slurm.sinfo import parse_nodes, state_of
from gpumon.workloads.slurm.slurmcommand import SlurmError
from tests.support.servers import ROOT

EXAMPLE = ROOT / "deploy" / "site" / "site.toml"


def load(folder: Path, text: str) -> Site:
    """Return what a file says."""
    path = folder / "site.toml"
    path.write_text(text)
    return load_site(path)


def hour(text: str) -> int:
    """Return an hour since 1970."""
    return int(dt.datetime.fromisoformat(text).timestamp() // 3600)


def test_the_example_that_ships_is_read() -> None:
    """Nodes with their places, budgets, a tariff, PUE and a country's carbon."""
    site = load_site(EXAMPLE)
    assert len(site.nodes) == 32
    assert site.nodes[16].node == "gpu0017"
    assert site.nodes[16].address == "gpu0017.cluster.example.org:9842"
    assert site.nodes[16].target_labels(site.cluster) == {
        "cluster": "alpha",
        "node": "gpu0017",
        "rack": "r02",
        "row": "a",
        "hall": "h1",
        "node_partition": "train",
    }
    assert site.budgets["rack", "r02"] == 180e3
    assert site.budgets["site", ""] == 400e3
    assert site.pue is not None
    assert site.pue.at(0) == 1.25
    assert site.carbon is not None
    assert (site.zone, site.carbon.at(0)) == ("DE", 380)
    assert "2023" in site.carbon.source


def test_one_site_may_have_several_clusters(tmp_path: Path) -> None:
    """Equal names in two clusters are two nodes; budgets and name are of the site."""
    site = load(
        tmp_path,
        'site = "north"\ncluster = "alpha"\n[[nodes]]\nnames = "n[1-2]"\nrack = "r1"\n'
        '[[nodes]]\nnames = "n1"\nrack = "r1"\ncluster = "beta"\n[budgets]\nrack.r1 = 100e3\n',
    )
    labels = [node.target_labels(site.cluster, site.name) for node in site.nodes]
    assert labels == [
        {"site": "north", "cluster": "alpha", "node": "n1", "rack": "r1"},
        {"site": "north", "cluster": "alpha", "node": "n2", "rack": "r1"},
        {"site": "north", "cluster": "beta", "node": "n1", "rack": "r1"},
    ]
    assert site.budgets == {("rack", "r1"): 100e3}
    told = [(one.cluster, one.node) for one in readings_of(site, site.nodes)]
    assert told == [("alpha", "n1"), ("alpha", "n2"), ("beta", "n1")]


def test_of_a_single_cluster_the_scrape_says_which_it_is(tmp_path: Path) -> None:
    """As before there was a second: the label is empty, which to Prometheus is none."""
    text = 'cluster = "alpha"\n[[nodes]]\nnames = "n1"\ncluster = "alpha"\n'
    site = load(tmp_path, text)
    assert [one.cluster for one in readings_of(site, site.nodes)] == [""]


def test_slurms_nodes_are_of_the_first_cluster(tmp_path: Path) -> None:
    """The other cluster's node of the same name keeps what was declared of it."""
    text = 'cluster = "alpha"\n[[nodes]]\nnames = "n1"\n[[nodes]]\nnames = "n1"\ncluster = "beta"\n'
    site = load(tmp_path, text)
    told = dataclasses.replace(site.nodes[0], state="idle", expected_gpus=8)
    found = {node.cluster: node.state for node in merge(site.nodes, {"n1": told})}
    assert found == {"": "idle", "beta": ""}


@pytest.mark.parametrize(
    ("moment", "price"),
    [
        ("2026-01-14T12:00+01:00", 0.23),  # a Wednesday in winter
        ("2026-01-14T06:00+01:00", 0.16),
        ("2026-01-14T19:00+01:00", 0.23),
        ("2026-01-14T20:00+01:00", 0.16),
        ("2026-01-17T12:00+01:00", 0.16),  # a Saturday
        ("2026-07-15T12:00+02:00", 0.16),  # summer
        ("2026-10-31T23:00+00:00", 0.16),  # already November there, but a Sunday's midnight
        ("2026-11-02T06:00+00:00", 0.23),  # seven o'clock by local winter time
        ("2026-11-02T05:00+00:00", 0.16),
    ],
)
def test_a_tariff_goes_by_local_time_and_season(moment: str, price: float) -> None:
    """Hours, weekdays and months are those of the site's zone."""
    site = load_site(EXAMPLE)
    assert site.price is not None
    assert site.price.at(hour(moment)) == price


def test_a_site_of_220_000_gpus_is_read(tmp_path: Path) -> None:
    """27,500 nodes in racks of ten."""
    racks = "".join(
        f'[[nodes]]\nnames = "gpu[{n:05}-{n + 9:05}]"\nrack = "r{n // 10}"\ngpus = 8\n'
        for n in range(0, 27_500, 10)
    )
    site = load(tmp_path, racks)
    assert len(site.nodes) == 27_500
    assert sum(node.expected_gpus or 0 for node in site.nodes) == 220_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cluter = 'a'", "unknown key 'cluter': known are"),
        ("cluter = 'a'", "did you mean cluster"),
        ("cluster = 7", "cluster is 7: it is a text"),
        ("[pue]\nvalue = 'x'", "value is 'x': it is a number"),
        ("[pue]\nvalue = nan", "it is a number from 0"),
        ("[[nodes]]\nrack = 'r1'", "names is"),
        ("[[nodes]]\nnames = 'a1,a1'", "a1 is there twice"),
        ("[[nodes]]\nnames = 'a[1-3'", 'names such as "gpu[0001-0016]"'),
        ("[[nodes]]\nnames = 'a[1-999999999]'", 'names such as "gpu[0001-0016]"'),
        ("[[nodes]]\nnames = 'a1'\ngpu = 8", "did you mean gpus"),
        ("[budgets]\nrak.r1 = 3", "did you mean rack"),
        ("[carbon]\ncountry = 'XX'", "country 'XX' is not in the table"),
        ("[price]\nfile = 'none.csv'", "neither a number nor a file"),
        ("timezone = 'Mars/Base'", "Europe/Berlin"),
        ("[price]\nvalue = 1\n[[price.periods]]\nvalue = 2\nhours = '7-24'", "full hours"),
        ("[price]\nvalue = 1\n[[price.periods]]\nvalue = 2\nhours = 'noon'", "full hours"),
        ("[price]\nvalue = 1\n[[price.periods]]\nvalue = 2\nweekdays = ['monday']", "mon, tue"),
        ("[[price.periods]]\nvalue = 2", "it holds at other times"),
        ("cluster = ", "mend the line"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, text: str, says: str) -> None:
    """With the table, the key and the next step."""
    with pytest.raises(GpumonError) as error:
        load(tmp_path, text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_newer_slurms_tell_groups_of_nodes() -> None:
    """From 23.02 on; drained before idle, GPUs of all types together."""
    text = """{"sinfo": [{"node": {"state": ["IDLE", "DRAIN"]}, "nodes": {"nodes": ["n1", "n2"]},
      "partition": {"name": "train"}, "gres": {"total": "gpu:h200:4(S:0-1),gpu:a100:2"}}]}"""
    found = of_slurm(parse_nodes(text), 9842)
    assert sorted(found) == ["n1", "n2"]
    node = found["n2"]
    assert (node.state, node.node_partition, node.expected_gpus) == ("drained", "train", 6)
    assert node.address == "n2:9842"


@pytest.mark.parametrize("version", ["22.05.8", "23.11.10", "25.11.7"])
def test_the_nodes_of_three_real_slurms(version: str) -> None:
    """As sinfo --json printed them: nodes, groups of nodes, and words in lists."""
    text = (ROOT / "tests" / "workloads" / "slurm" / f"sinfo-{version}.json").read_text()
    (node,) = parse_nodes(text).values()
    assert (node.name, node.partition, node.state, node.gpus) == ("n1", "gpu", "idle", 4)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 9999, '{"nodes": 3}', '{"nodes": [{"x": 1}]}']
)
def test_nonsense_of_slurm_is_an_error(text: str) -> None:
    """Which leaves what was known before."""
    with pytest.raises(SlurmError, match="something else"):
        parse_nodes(text)


@pytest.mark.parametrize(
    ("states", "word"),
    [
        (["idle"], "idle"),
        (["mixed", "drain"], "drained"),
        (["down", "drain"], "down"),
        (["allocated", "maintenance"], "maint"),
        ([], "unknown"),
    ],
)
def test_the_state_that_matters_is_told(states: list[str], word: str) -> None:
    """Down and drained before what runs."""
    assert state_of(states) == word


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:h200:8(S:0-1)", 8),
        ("gpu:8", 8),
        ("", 0),
        ("nvme:4", 0),
        ("gpu:1g.10gb:7", None),
        ("gpu:a100_1g.5gb:7,gpu:a100:1", None),
        ("vgpu:4,gpu:a100:2", 2),
        ("gpu:a100:2(S:0,2),gpu_mem:96,nvgpu:3,shard:a100:8", 2),
        ("gpu", 1),
        ("gpu:h200:no_consume:4,lustre:4K", 4),
        ("(null)", 0),
        ("gpu:h200:4(S:0", None),
    ],
)
def test_slurm_tells_how_many_gpus_a_node_should_have(gres: str, gpus: int | None) -> None:
    """Not known if GPUs are divided, for instances are no GPUs; of no other resource with its name.

    ``vgpu`` is none, nor is ``shard``, which is part of one that is counted already.
    """
    text = f'{{"nodes": [{{"name": "n1", "state": "idle", "gres": "{gres}"}}]}}'
    assert parse_nodes(text)["n1"].gpus == gpus
