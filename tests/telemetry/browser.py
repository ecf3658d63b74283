"""Headless Chromium for tests: a browser that may reach nothing, with a profile of its own that goes with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
READY_S = 20.0


def chromium_paths() -> tuple[str, str] | None:
    """Return where the browser and its driver are, or None if one is missing."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def chromium(profile: Path, *, width: int = 1280, dark: bool = False) -> Iterator[Any]:
    """Start a browser; skip the test where there is none."""
    paths = chromium_paths()
    if paths is None:
        pytest.skip("needs chromium and chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    # Whatever the page asks of the network goes to a proxy that does not exist.
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},900", "--proxy-server=127.0.0.1:9"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(paths[1]))
    try:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        if dark:
            scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        yield driver
    finally:
        driver.quit()


class Page:
    """An open report and what a reader does with it."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        driver.get(path.as_uri())
        self.until("document.documentElement.dataset.ready")

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what an expression is worth in the page."""
        return self.driver.execute_script(f"return {script}", *arguments)

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, READY_S, poll_frequency=0.02).until(lambda _: self.run(script))

    def one(self, css: str) -> Any:
        """Return the first element of a selector."""
        return self.driver.find_element("css selector", css)

    def count(self) -> str:
        """Return the count of trials once nothing is being looked for any more."""
        self.until("document.getElementById('browser').getAttribute('aria-busy') === 'false'")
        return str(self.run("document.getElementById('count').textContent"))

    def choose(self, name: str, beginning: str) -> str:
        """Choose the level of a filter that begins so; return the count."""
        from selenium.webdriver.support.ui import Select

        select = Select(self.one(f"select[name={name}]"))
        select.select_by_visible_text(next(one.text for one in select.options if one.text.startswith(beginning)))
        return self.count()

    def search(self, text: str) -> str:
        """Look for a text; return the count."""
        field = self.one("#search")
        field.clear()
        field.send_keys(text)
        return self.count()

    def said(self) -> str:
        """Return the text of the conversation shown."""
        return str(self.run("document.getElementById('conversation').textContent"))

    def complaints(self) -> list[str]:
        """Return what the console says, and every address that was asked for beyond the page itself."""
        import json

        told = [entry["message"] for entry in self.driver.get_log("browser")]
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                if not url.startswith(("file:", "data:", "chrome:", "blob:")):
                    told.append(url)
        return told + list(self.run("performance.getEntriesByType('resource').map((one) => one.name)"))
