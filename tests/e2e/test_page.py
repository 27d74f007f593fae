"""The live page, looked at by a real Chromium."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.fakenvml import FakeDriver, profiles
from tests.support.servers import CHROMIUM_FLAGS, Agent, require, run_agent

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium of the system's own."""
    program = require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def open_page(browser: Browser, agent: Agent, scheme: str = "light") -> tuple[Page, list[str]]:
    """Open the agent's page; returns it and the list that its complaints are written to."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: complaints.append(asked.url) if agent.url not in asked.url
            and not asked.url.startswith("data:") else None)  # fmt: skip
    page.goto(agent.url)
    return page, complaints


def picture(page: Page, name: str) -> None:
    """Keep a screenshot where GPUMON_TEST_SCREENSHOTS names a folder."""
    folder = os.environ.get("GPUMON_TEST_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_eight_gpus_are_shown_and_move(browser: Browser, tmp_path: Path) -> None:
    """Power against limit, margin, utilisation, memory and a line for each; SIMULATED is said."""
    with run_agent(tmp_path, "sim:8xH100,workload=mixed,speed=20") as agent:
        page, complaints = open_page(browser, agent)
        expect(page.locator("article")).to_have_count(8)
        expect(page.get_by_text("SIMULATED: no hardware was measured")).to_be_visible()
        expect(page).to_have_title(re.compile("^SIMULATED "))
        first = page.locator("article").first
        expect(first.locator(".state")).to_have_text("ok")
        expect(first.locator(".limit")).to_have_text("of 700 W")
        expect(first.locator(".margin")).to_have_text(re.compile(r"^\d+ °C$"))
        expect(first.locator(".utilization")).to_have_text(re.compile(r"^\d+ %$"))
        expect(first.locator(".memory")).to_have_text(re.compile(r"^\d+ / 80$"))
        expect(first.locator(".age")).to_have_text(re.compile(r"^read \d\.\d s ago$"))
        energy = first.locator(".energy").inner_text()
        line = first.locator("svg path").get_attribute("d")
        expect(first.locator(".energy")).not_to_have_text(energy)
        expect(first.locator("svg path")).not_to_have_attribute("d", line or "")
        expect(page.locator("#sum-ok")).to_have_text("8 of 8")
        picture(page, "page-light")
        assert complaints == []


def test_the_page_is_readable_in_the_dark(browser: Browser, tmp_path: Path) -> None:
    """It follows the reader's own preference."""
    with run_agent(tmp_path, "sim:8xB200,workload=training") as agent:
        page, complaints = open_page(browser, agent, "dark")
        expect(page.locator("article")).to_have_count(8)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", ground))) < 60
        picture(page, "page-dark")
        assert complaints == []


def test_trouble_is_said_on_the_page(browser: Browser, tmp_path: Path, library: Path) -> None:
    """A lost GPU loses its numbers, not its place; a dead agent makes everything old."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(4), library=library)
    driver.set(1, "margin_temperature", 3)
    driver.set(1, "clocks_event_reasons", 0x20)
    driver.set(0, "name", "<img src=x onerror=alert(1)>")
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        page, complaints = open_page(browser, agent)
        expect(page.locator("article")).to_have_count(4)
        expect(page.get_by_text("SIMULATED")).to_be_hidden()
        expect(page.locator("article").nth(1).locator(".why")).to_have_text("throttled: sw_thermal")
        expect(page.locator("article").nth(1).locator(".margin")).to_have_class("margin bad")
        expect(page.locator("article").nth(0).locator(".name")).to_contain_text("<img src=x")
        driver.lose(2)
        lost = page.locator("article").nth(2)
        expect(lost.locator(".state")).to_have_text("lost", timeout=8000)
        expect(lost.locator(".power")).to_have_text("–")
        expect(page.locator("#sum-ok")).to_have_text("3 of 4")
        expect(page.locator("#trouble")).to_contain_text("gpu 2 is lost")
        picture(page, "page-trouble")
        assert complaints == []
        agent.process.terminate()
        agent.process.wait(10)
        expect(page.locator("#trouble")).to_contain_text("has not responded for", timeout=10000)
