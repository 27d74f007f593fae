"""A real Grafana, in an organisation of its own, which is removed at the end.

``GPUMON_TEST_GRAFANA_URL`` says where it is, ``GPUMON_TEST_GRAFANA_ADMIN`` is ``USER:PASSWORD`` of
its admin. Whatever else it holds is neither seen nor changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

NODE = "gpumon-node"


@dataclasses.dataclass(frozen=True)
class Organisation:
    """An organisation of a Grafana, with a folder and a Prometheus, and its admin."""

    url: str
    admin: httpx.Client
    folder: str
    number: str

    def token(self, role: str, *, may_edit: bool = False) -> str:
        """Return the token of a new service account, which may edit in the folder or not."""
        account = self.post("/api/serviceaccounts", {"name": uuid.uuid4().hex, "role": role})
        if may_edit:
            path = f"/api/access-control/folders/{self.folder}/users/{account['id']}"
            self.post(path, {"permission": "Edit"})
        path = f"/api/serviceaccounts/{account['id']}/tokens"
        return str(self.post(path, {"name": uuid.uuid4().hex})["key"])

    def get(self, path: str) -> dict[str, Any]:
        """Return what the admin sees."""
        return self._json(self.admin.get(path))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Do something as the admin."""
        return self._json(self.admin.post(path, json=body))

    def edit(self, title: str) -> None:
        """Save the node's dashboard with another title, as a person does."""
        there = self.get(f"/api/dashboards/uid/{NODE}")
        body = {"dashboard": {**there["dashboard"], "title": title}, "folderUid": self.folder}
        self.post("/api/dashboards/db", body)

    def gpumon(self, *arguments: str, token: str) -> subprocess.CompletedProcess[str]:
        """Run ``gpumon dashboards`` against it."""
        argv = [sys.executable, "-m", "gpumon", "dashboards", *arguments]
        variables = {"GPUMON_GRAFANA_URL": self.url, "GPUMON_GRAFANA_TOKEN": token}
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env={**os.environ, **variables}
        )
        assert token not in done.stdout + done.stderr
        return done

    @staticmethod
    def _json(answer: httpx.Response) -> dict[str, Any]:
        assert answer.is_success, answer.text
        body: dict[str, Any] = answer.json()
        return body


def admin_of_grafana() -> tuple[str, str]:
    """Return user and password of the Grafana's admin."""
    user, _, password = os.environ.get("GPUMON_TEST_GRAFANA_ADMIN", "admin:admin").partition(":")
    return user, password


@contextlib.contextmanager
def run_organisation(prometheus: str) -> Iterator[Organisation]:
    """Make an organisation with a folder, and a data source that is this Prometheus's URL."""
    url = os.environ.get("GPUMON_TEST_GRAFANA_URL", "").rstrip("/")
    if not url:
        pytest.skip("no Grafana is at hand: GPUMON_TEST_GRAFANA_URL is not set")
    with httpx.Client(base_url=url, auth=admin_of_grafana(), timeout=30) as admin:
        made = admin.post("/api/orgs", json={"name": f"gpumon test {uuid.uuid4().hex}"})
        assert made.is_success, made.text
        number = str(made.json()["orgId"])
        admin.headers["X-Grafana-Org-Id"] = number
        try:
            source = {"name": "Prometheus", "type": "prometheus", "access": "proxy"}
            admin.post("/api/datasources", json={**source, "url": prometheus})
            folder = admin.post("/api/folders", json={"title": "gpumon"}).json()["uid"]
            yield Organisation(url, admin, folder, number)
        finally:
            del admin.headers["X-Grafana-Org-Id"]
            admin.delete(f"/api/orgs/{number}")
