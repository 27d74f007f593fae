"""What Grafana is provisioned with."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.dashboards import committed
from tests.support.servers import ROOT

PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"


def load(name: str) -> dict[str, Any]:
    """Return a file of the provisioning."""
    loaded: dict[str, Any] = yaml.safe_load((PROVISIONING / name).read_text())
    return loaded


def test_the_data_source_is_the_one_that_dashboards_choose() -> None:
    """Uid and name are those that every dashboard's variable starts with."""
    (source,) = load("datasources/gpumon.yml")["datasources"]
    assert source["uid"] == "gpumon-prometheus"
    for dashboard in committed.dashboards():
        (variable,) = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
        assert variable["current"] == {"text": source["name"], "value": source["uid"]}
        assert variable["query"] == source["type"]


def test_rates_are_taken_over_enough_scrapes() -> None:
    """Grafana must know the scrape interval, or short rates have no data."""
    (source,) = load("datasources/gpumon.yml")["datasources"]
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_variables_of_the_environment_are_set_by_the_stack() -> None:
    """What the files take from the environment, the compose file gives."""
    stack = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yml").read_text())
    given = stack["services"]["grafana"]["environment"]
    taken = set()
    for path in PROVISIONING.glob("*/*.yml"):
        settings = re.sub("#.*", "", path.read_text())
        taken |= set(re.findall(r"\$\{?(\w+)", settings))
    assert taken
    assert taken <= given.keys()


def test_dashboards_are_found_where_the_stack_mounts_them() -> None:
    """The provider's folder and the home dashboard are inside the mounted folder."""
    stack = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yml").read_text())
    grafana = stack["services"]["grafana"]
    (provider,) = load("dashboards/gpumon.yml")["providers"]
    assert provider["options"]["path"] == "$GPUMON_DASHBOARDS"
    inside = grafana["environment"]["GPUMON_DASHBOARDS"]
    assert f"../../dashboards/json:{inside}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.rpartition("/")[0] == inside
    assert (committed.FOLDER / home.rpartition("/")[2]).exists()
