"""Headless Chromium, for tests of pages."""

import shutil

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

__all__ = ["SOFTWARE_GL", "ActionChains", "By", "Keys", "Page", "needs_chromium", "start"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="no chromium and chromedriver on the PATH",
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
    "--window-size=1200,800",
)
SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def start(folder, *flags):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, *flags, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))


class Page:
    """What a reader does on a page, and what it shows."""

    def __init__(self, driver):
        self.driver = driver

    def at(self, name):
        return self.driver.find_element(By.ID, name)

    def run(self, script, *args):
        return self.driver.execute_script(f"return {script}", *args)

    def state(self):
        return self.run("gatPage.state()")

    def choose(self, control, text):
        Select(self.at(control)).select_by_visible_text(text)

    def rows(self, table):
        """Names and weights in a table."""
        lines = self.at(table).find_elements(By.CSS_SELECTOR, "tbody tr")
        cells = [(one.find_element(By.TAG_NAME, "th"), one) for one in lines]
        number = ".weight span"
        return [
            (name.text, float(line.find_element(By.CSS_SELECTOR, number).text))
            for name, line in cells
        ]

    def over(self, name, right, down):
        """The mouse at a place in an element, in pixels from its upper left corner."""
        element = self.at(name)
        size = element.size
        moves = ActionChains(self.driver, duration=0)
        return moves.move_to_element_with_offset(
            element, round(right - size["width"] / 2), round(down - size["height"] / 2)
        )

    def wait(self, condition):
        return WebDriverWait(self.driver, 60).until(lambda _: condition())
