"""The dashboards in a real Grafana, where one is at hand, looked at by a real Chromium."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response, sync_playwright

from tests.dashboards import committed
from tests.dashboards.committed import Json
from tests.dashboards.site import CANNOT_BE_THERE, Site, run_site
from tests.support.real_grafana import Organisation, admin_of_grafana, run_organisation
from tests.support.servers import CHROMIUM_FLAGS, require, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.grafana, pytest.mark.timeout(900)]

TALL = 9000
"""Pixels: panels ask for their data once they are on the screen."""

TEXTS = """() => Object.fromEntries([...document.querySelectorAll('.react-grid-item')]
    .filter(panel => !panel.querySelector('.dashboard-row'))
    .map(panel => panel.innerText.split('\\n').filter(line => line.trim()))
    .filter(lines => lines.length).map(lines => [lines[0], lines.slice(1)]))"""
"""What each panel says, line by line, by its title."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A fleet in which much is broken."""
    if not os.environ.get("GPUMON_TEST_GRAFANA_URL"):
        pytest.skip("no Grafana is at hand: GPUMON_TEST_GRAFANA_URL is not set")
    with run_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def grafana(site: Site) -> Iterator[Organisation]:
    """A Grafana with this fleet's Prometheus and all dashboards, put there by ``push``."""
    with run_organisation(site.prometheus.url) as organisation:
        pushed = organisation.gpumon("push", token=organisation.token("Admin"))
        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
        yield organisation


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium of the system's own."""
    program = require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


LOADING = ".panel-loading, [aria-label='Panel loading bar']"
"""What turns or runs over a panel that waits for its data: in Grafana 9, and in later ones."""


def _is_empty(panel: Json, lines: list[str]) -> bool:
    """Tell whether a panel says that it has no data, in its own words or in Grafana's.

    A timeline that has some says in its legend what is shown where there is none.
    """
    own = panel["fieldConfig"]["defaults"]["noValue"]
    said = {own} == {*lines} if panel["type"] == "state-timeline" else own in lines
    return said or "No data" in lines or not lines


def _may_be_empty(panel: Json) -> bool:
    """Tell whether a panel is empty when all is well, or of what no simulated H100 has."""
    queries = " ".join(target["expr"] for target in panel["targets"])
    said = panel["description"].lower()
    well = "empty when all is well" in said or "normal: none" in said
    return well or any(name in queries for name in CANNOT_BE_THERE)


def _errors_of(answer: Response) -> list[str]:
    """Return what a data source answered that is no data."""
    if "/api/ds/query" not in answer.url:
        return [f"{answer.status} {answer.url}"] if answer.status >= 400 else []
    results: dict[str, Any] = answer.json().get("results", {})
    return [str(result["error"]) for result in results.values() if "error" in result]


@pytest.mark.parametrize("dashboard", committed.dashboards(), ids=lambda found: found["uid"])
@pytest.mark.parametrize("clusters", ["sim", "$__all"], ids=["one cluster", "all clusters"])
def test_no_panel_has_an_error_or_unexpectedly_no_data(
    site: Site, grafana: Organisation, browser: Browser, dashboard: Json, clusters: str
) -> None:
    """Every panel is drawn, every query answered; "No data" is there only where it may be."""
    # Grafana sends a stranger to its login page without asking for credentials.
    basic = base64.b64encode(":".join(admin_of_grafana()).encode()).decode()
    context = browser.new_context(
        viewport={"width": 1920, "height": TALL},
        extra_http_headers={"Authorization": f"Basic {basic}"},
    )
    page = context.new_page()
    answers: list[Response] = []
    failures: list[str] = []

    def hear(answer: Response) -> None:  # a handler of Playwright's cannot be a built-in
        answers.append(answer)

    page.on("response", hear)
    page.on("pageerror", lambda error: failures.append(str(error)))
    chosen = {**site.selections[0], "cluster": clusters}
    variables = {v["name"] for v in dashboard["templating"]["list"]} & chosen.keys()
    values = "&".join(f"var-{n}={chosen[n].replace('.*', '$__all')}" for n in sorted(variables))
    page.goto(
        f"{grafana.url}/d/{dashboard['uid']}?orgId={grafana.number}&kiosk"
        f"&from=now-15m&to=now&{values}"
    )
    titles = {panel["title"]: panel for panel in committed.panels(dashboard)}
    wait_for(lambda: page.locator(".react-grid-item").count() >= len(titles), 60, "the panels")
    page.wait_for_load_state("networkidle")
    wait_for(lambda: page.locator(LOADING).count() == 0, 60, "what the panels asked for")
    picture(page, dashboard["uid"])
    errors = [error for answer in answers for error in _errors_of(answer)]
    shown = page.evaluate(TEXTS)
    context.close()
    assert errors == []
    assert failures == []
    assert titles.keys() <= shown.keys()
    empty = [title for title, panel in titles.items() if _is_empty(panel, shown[title])]
    assert [title for title in empty if not _may_be_empty(titles[title])] == []


def picture(page: Page, name: str) -> None:
    """Keep a screenshot where GPUMON_TEST_SCREENSHOTS names a folder."""
    folder = os.environ.get("GPUMON_TEST_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
