"""A push to a real Grafana, where one is at hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gpumon.errors import UnavailableError
from gpumon.grafana.api import Folder, connect
from gpumon.grafana.login import GrafanaLogin
from gpumon.grafana.shipped import load
from tests.support.real_grafana import NODE, Organisation, run_organisation

pytestmark = pytest.mark.grafana

UIDS = [dashboard.uid for dashboard in load()]


@pytest.fixture
def grafana() -> Iterator[Organisation]:
    """A new organisation of the Grafana at hand, whose Prometheus is not there."""
    with run_organisation("http://127.0.0.1:9") as organisation:
        yield organisation


def test_a_second_push_changes_nothing(grafana: Organisation) -> None:
    """By a Viewer who may edit in the folder, which is all that it takes."""
    token = grafana.token("Viewer", may_edit=True)
    first = grafana.gpumon("push", token=token)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [f"{uid}: created in gpumon" for uid in UIDS]
    second = grafana.gpumon("push", token=token)
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout.splitlines() == [f"{uid}: unchanged" for uid in UIDS]
    assert grafana.gpumon("diff", token=token).returncode == 0
    for uid in UIDS:
        assert grafana.get(f"/api/dashboards/uid/{uid}")["meta"]["version"] == 1


def test_an_edited_dashboard_is_not_overwritten_unless_forced(grafana: Organisation) -> None:
    """What is in Grafana stays, and is shown; with force it is ours again."""
    token = grafana.token("Viewer", may_edit=True)
    grafana.gpumon("push", NODE, token=token)
    grafana.edit("GPU node, mine")
    left = grafana.gpumon("push", NODE, token=token)
    assert left.returncode == 1
    assert f"{NODE}: left alone, edited in Grafana by admin" in left.stdout
    assert '-  "title": "GPU node, mine"' in left.stdout
    there = grafana.get(f"/api/dashboards/uid/{NODE}")["dashboard"]
    assert there["title"] == "GPU node, mine"
    assert grafana.gpumon("diff", NODE, token=token).returncode == 1
    forced = grafana.gpumon("push", "--force", NODE, token=token)
    assert forced.returncode == 0
    assert grafana.get(f"/api/dashboards/uid/{NODE}")["dashboard"]["title"] == "GPU node"
    again = grafana.gpumon("push", NODE, token=token)
    assert again.stdout == f"{NODE}: unchanged\n"
    # What was pushed by itself has moved on, and is brought up to date and moved by an editor.
    editor = grafana.token("Editor")
    moved = grafana.gpumon("push", "--folder", "Another", NODE, token=editor)
    assert moved.stdout == f"{NODE}: updated in Another (was in gpumon)\n"
    again = grafana.gpumon("push", "--folder", "Another", NODE, token=editor)
    assert again.stdout == f"{NODE}: unchanged\n"


def test_a_version_that_nobody_looked_at_is_not_replaced(grafana: Organisation) -> None:
    """Somebody saves between the look and the save: Grafana refuses with 412, and it is said."""
    node = load([NODE])[0]
    folder = Folder(grafana.folder, "gpumon")
    with connect(GrafanaLogin(grafana.url, grafana.token("Editor"))) as server:
        server.save(node, folder, None)
        stored = server.dashboard(NODE)
        assert stored is not None
        assert (stored.version, stored.message) == (1, node.mark)
        assert stored.document == node.document
        grafana.edit("and mine")
        with pytest.raises(UnavailableError, match="somebody saved dashboard gpumon-node"):
            server.save(node, folder, stored.version)


def test_what_the_stand_in_answers_is_what_grafana_answers(grafana: Organisation) -> None:
    """Refusals end with the same line and exit code as in ``tests/cli/test_dashboards.py``."""
    viewer = grafana.gpumon("push", NODE, token=grafana.token("Viewer"))
    assert viewer.returncode == 3
    assert "Permissions needed: any of dashboards:create, dashboards:write" in viewer.stderr
    unknown = grafana.gpumon("push", NODE, token="glsa_unknown")
    assert unknown.returncode == 3
    assert "does not know this token" in unknown.stderr
    elsewhere = f"{grafana.url}/no/such/path"
    lost = grafana.gpumon("push", NODE, "--url", elsewhere, token="glsa_unknown")
    assert lost.returncode == 3
    assert "name the URL of Grafana's own start page" in lost.stderr
    token = grafana.token("Viewer", may_edit=True)
    nowhere = grafana.gpumon("push", NODE, "--folder", "New", token=token)
    assert nowhere.returncode == 3
    assert "make the folder New in Grafana" in nowhere.stderr
    other = {"uid": "theirs", "title": "GPU node", "panels": []}
    grafana.post("/api/dashboards/db", {"dashboard": other, "folderUid": grafana.folder})
    taken = grafana.gpumon("push", "--force", NODE, token=token)
    assert taken.returncode == 3
    assert f"another dashboard with the title of dashboard {NODE}" in taken.stderr
