"""The fleet over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import jsonschema
import pytest

from gpumon.simulate.service import make_fleet_app
from gpumon.thresholds import with_own
from tests.simulate.conftest import SteppedFleet
from tests.support.documents import definition


class Client:
    """Asks the application, without a socket."""

    def __init__(self, fleet: SteppedFleet) -> None:
        """Keep the fleet."""
        self.fleet = fleet
        self._app = make_fleet_app(fleet.fleet)

    def __call__(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Return the answer."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://fleet:9844") as c:
                return await c.request(method, path, **more)

        return asyncio.run(ask())


@pytest.fixture
def client(fleet: SteppedFleet) -> Client:
    """A client of a fleet of nine nodes."""
    return Client(fleet)


def told(client: Client, method: str, path: str, name: str) -> dict[str, Any]:
    """Return an answer that is a document of the published schema."""
    document: dict[str, Any] = client(method, path).json()
    jsonschema.validate(document, definition(name))
    return document


def add(client: Client, *faults: str) -> list[dict[str, Any]]:
    """Let faults begin."""
    answer = client("POST", "/faults", json={"faults": list(faults)})
    assert answer.status_code == 201
    begun: list[dict[str, Any]] = answer.json()["faults"]
    return begun


class TestScraping:
    """What Prometheus asks for."""

    def test_targets_lead_to_metrics(self, client: Client) -> None:
        """Every target's path answers, and its labels say where it stands."""
        targets = client("GET", "/sd").json()
        assert len(targets) == 9
        for target in targets:
            assert target["targets"] == ["fleet:9844"]
            labels = target["labels"]
            assert labels.keys() >= {"instance", "node", "rack", "row", "hall", "node_partition"}
            text = client("GET", labels["__metrics_path__"]).text
            assert 'gpumon_source_info{source="sim"' in text

    def test_openmetrics_is_spoken(self, client: Client) -> None:
        """Prometheus asks for it, and gets its end marker."""
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = client("GET", "/nodes/n0001/metrics", headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")

    def test_no_such_node(self, client: Client) -> None:
        """It says where the nodes are listed."""
        answer = client("GET", "/nodes/n9999/metrics")
        assert (answer.status_code, "/sd" in answer.text) == (404, True)

    def test_the_index_says_that_it_is_simulated(self, client: Client) -> None:
        """And what is where."""
        text = client("GET", "/").text
        assert "SIMULATED" in text
        assert "/faults" in text


class TestFaults:
    """Breaking things by request."""

    def test_added_listed_ended(self, client: Client) -> None:
        """A fault has a number, is listed with it, and ends by it."""
        (begun,) = add(client, "hot=20@n0002:1,for=10m")
        assert begun["active"]
        client.fleet.after(5)
        (listed,) = told(client, "GET", "/faults", "faults")["faults"]
        assert listed["id"] == begun["id"]
        assert client("DELETE", f"/faults/{begun['id']}").json()["ended"] == 1
        client.fleet.after(5)
        assert not client("GET", "/faults").json()["faults"][0]["active"]
        assert client("DELETE", f"/faults/{begun['id']}").status_code == 404

    def test_one_that_has_not_begun_never_will(self, client: Client) -> None:
        """Ended before its time: nothing of it is seen, and there is nothing left to end."""
        (begun,) = add(client, "xid=79@n0001:0,start=10s")
        assert client("DELETE", f"/faults/{begun['id']}").json()["ended"] == 1
        assert told(client, "DELETE", "/faults", "ended")["ended"] == 0
        client.fleet.after(30)
        assert "gpumon_gpu_xid_errors_total" not in client.fleet.text("n0001")
        assert add(client, "hot@n0001")[0]["id"] > begun["id"]

    def test_all_end_at_once(self, client: Client) -> None:
        """DELETE without a number ends what lasts."""
        add(client, "hot@n0001", "lost@n0002:0")
        assert client("DELETE", "/faults").json()["ended"] == 2

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b'{"faults": "hot@n0001"}', b'{"faults": [3]}', b"\xff"]
    )
    def test_nonsense_is_refused(self, client: Client, body: bytes) -> None:
        """With what would be right, and nothing begins."""
        answer = client("POST", "/faults", content=body)
        assert answer.status_code == 400
        assert "faults" in answer.json()["error"]
        assert client("GET", "/faults").json() == {"schema": 1, "faults": []}

    def test_a_flood_is_refused(self, client: Client) -> None:
        """More than some kilobytes of faults is not read to its end."""
        answer = client("POST", "/faults", content=b"x" * 2_000_000)
        assert answer.status_code == 400


class TestElsewhere:
    """Faults that show in how a node answers, in the targets, or in the site."""

    @pytest.mark.parametrize("kind", ["agent_dead", "node_dead"])
    def test_nobody_answers(self, client: Client, kind: str) -> None:
        """Prometheus sees the target down."""
        add(client, f"{kind}@n0001")
        assert client("GET", "/nodes/n0001/metrics").status_code == 503
        assert client("GET", "/nodes/n0002/metrics").status_code == 200

    def test_an_unlisted_node_is_no_target(self, client: Client) -> None:
        """But the site's list still has it."""
        add(client, "unlisted@n0003")
        names = [target["labels"]["node"] for target in client("GET", "/sd").json()]
        assert "n0003" not in names
        assert (
            'gpumon_site_node_info{cluster="",node="n0003"' in client("GET", "/site/metrics").text
        )

    @pytest.mark.parametrize(
        ("fault", "state"),
        [("scheduler=drained@n0001", "drained"), ("node_dead@n0001", "down")],
    )
    def test_the_scheduler_says_so(self, client: Client, fault: str, state: str) -> None:
        """A node's state is what the fault makes it, else by its jobs."""
        line = 'gpumon_site_node_info{cluster="",node="n0001",rack="r001",row="row1",hall="h1"'
        assert f'{line},node_partition="train",state="allocated"}} 1' in self.site(client)
        add(client, fault)
        assert f'{line},node_partition="train",state="{state}"}} 1' in self.site(client)

    def test_a_stale_fact(self, client: Client) -> None:
        """Its age is beyond its lifetime."""
        add(client, "fact_stale=price@site")
        text = self.site(client)
        age = float(text.partition('gpumon_site_fact_age_seconds{fact="price"} ')[2].split()[0])
        assert age > 400 * 86400

    def test_a_collector_that_fails(self, client: Client) -> None:
        """The site's own collectors."""
        add(client, "site_collector=slurm@site")
        assert 'gpumon_site_collector_success{collector="slurm"} 0' in self.site(client)

    def test_a_dead_site(self, client: Client) -> None:
        """Nobody answers there."""
        add(client, "site_dead@site")
        assert client("GET", "/site/metrics").status_code == 503

    def test_a_slow_agent(self, client: Client) -> None:
        """The answer comes, later."""
        add(client, "agent_slow=0.05@n0001")
        assert client("GET", "/nodes/n0001/metrics").elapsed.total_seconds() >= 0.05

    @staticmethod
    def site(client: Client) -> str:
        """Return the site's exposition."""
        return client("GET", "/site/metrics").text


def test_jobs_are_listed(fleet: SteppedFleet, make_fleet: Callable[..., SteppedFleet]) -> None:
    """With whose they are and where they run."""
    jobs = told(Client(fleet), "GET", "/jobs", "fleet_jobs")["jobs"]
    assert {"job_id", "user", "nodes", "gpus", "kind"} <= jobs[0].keys()
    assert sum(job["gpus"] for job in jobs) <= 36


def test_the_fleets_agents_have_the_thresholds_of_their_site() -> None:
    """In each node's ledger and metrics, in the site's, and at the endpoint."""
    site = with_own({"activity.idle_ratio": 1.0})
    fleet = SteppedFleet(nodes=2, thresholds=site)
    client = Client(fleet)
    fleet.after(60)
    name = next(iter(fleet.fleet.nodes))
    held = fleet.values(name, "gpumon_job_gpu_seconds_total")
    idle = fleet.values(name, "gpumon_job_gpu_seconds_total{.*idle.*")
    assert sum(held) == sum(idle) > 0
    assert f'gpumon_thresholds_info{{digest="{site.digest}"}} 1' in fleet.text(name)
    told = client("GET", "/site/metrics").text
    assert f'gpumon_site_thresholds_info{{digest="{site.digest}"}} 1' in told
    document = client("GET", "/api/v1/thresholds").json()
    assert document["digest"] == site.digest
    assert document["values"]["activity.idle_ratio"] == 1.0
