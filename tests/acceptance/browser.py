"""A real browser: Debian's Chromium, driven by Playwright, logged in to an Airflow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen
from playwright.sync_api import Browser, Page, sync_playwright

from sandbox.airflow import Airflow
from tests.lacking import lacks

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 300_000
"""Milliseconds for which anything on a page is awaited."""
MISSING = f"{CHROMIUM} is missing: on Debian, as root, apt-get install chromium"


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; without it the test is skipped, or failed in CI."""
    if not CHROMIUM.exists():
        lacks(MISSING)
    with sync_playwright() as playwright:
        # Root, which CI is, cannot use Chromium's own sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@frozen
class Visitor:
    """A user who looks at Airflow. `complaints` are errors of scripts; `hosts` all that was asked."""

    page: Page
    url: str
    complaints: list[str] = field(factory=list)
    hosts: set[str] = field(factory=set)

    def note(self, url: str) -> None:
        """Keep the host that is asked; what is written into a page itself (`data:`) has none."""
        if host := urlsplit(url).netloc:
            self.hosts.add(host)

    def open(self, path: str) -> None:
        """Go to a page of Airflow."""
        self.page.goto(f"{self.url}{path}")


@contextlib.contextmanager
def visiting(
    browser: Browser, airflow: Airflow, user: str, *, width: int = 1400, dark: bool = False
) -> Iterator[Visitor]:
    """A user, logged in by Airflow's own page, to which the board itself leads whoever is not."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    context.set_default_timeout(PATIENCE)
    visitor = Visitor(context.new_page(), airflow.url)
    page = visitor.page
    page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
    page.on("request", lambda request: visitor.note(request.url))
    try:
        visitor.open("/env-sync/")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", airflow.passwords[user])
        page.click("button[type=submit]")
        page.wait_for_selector("#board")
        yield visitor
    finally:
        context.close()
