"""The first configuration of Alertmanager."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.support.servers import ROOT, answers, free_port, get, require, run, wait_for

CONFIG = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"


def test_amtool_accepts_it() -> None:
    """Alertmanager would start with it."""
    done = subprocess.run(
        [require("amtool"), "check-config", CONFIG], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_holds_no_secret_and_tells_nobody() -> None:
    """Whom to tell is the site's decision, and secrets are kept in files of their own."""
    config = yaml.safe_load(CONFIG.read_text())
    assert config["receivers"] == [{"name": "nobody"}]
    assert config["route"]["receiver"] == "nobody"
    settings = re.sub("#.*", "", CONFIG.read_text())
    assert not re.search("password|token|secret|://", settings)


@pytest.mark.e2e
def test_one_trouble_of_one_node_is_one_group(tmp_path: Path) -> None:
    """Two GPUs of a node with the same trouble are one message, another node's is a second."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [
        require("prometheus-alertmanager"),
        f"--config.file={CONFIG}",
        f"--storage.path={tmp_path}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    alerts = [
        {"labels": {"alertname": "Hot", "cluster": "a", "node": node, "gpu": gpu}}
        for node, gpu in (("n1", "0"), ("n1", "1"), ("n2", "0"))
    ]
    with run(argv, tmp_path / "alertmanager.log"):
        wait_for(lambda: answers(f"{url}/-/ready"), 30, "Alertmanager")
        request = urllib.request.Request(
            f"{url}/api/v2/alerts",
            data=json.dumps(alerts).encode(),
            headers={"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=10).close()
        groups = wait_for(lambda: get(f"{url}/api/v2/alerts/groups").json(), 30, "groups")
    counts = {group["labels"]["node"]: len(group["alerts"]) for group in groups}
    assert counts == {"n1": 2, "n2": 1}
