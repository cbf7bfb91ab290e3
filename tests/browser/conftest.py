"""The explorer in the system's Chromium, driven by Playwright: servers, browser, pages that must not log an error."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser.servers import Site, jupyterlab, voila
from playwright.sync_api import Browser, Page, sync_playwright

from lficam.figures.experiments import EXPERIMENTS, experiment
from lficam.training.runs import is_stored

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WINDOW = {"width": 1280, "height": 800}
FIRST_PICTURE, REPLY = 120_000, 15_000  # milliseconds, on a machine that does other things as well

# What Voilà and JupyterLab show instead, if the notebook fails.
FAILED = "p:has-text('There was an error when executing cell'), [data-mime-type='application/vnd.jupyter.error']"

# Room for all of the explorer and for what is around it: both pages scroll inside of the window.
HEIGHT = "() => Math.max(innerHeight, 500 + (document.querySelector('.lficam-explorer')?.offsetHeight ?? 0))"

# Nothing is asked of another host.
ELSEWHERE = re.compile(r"^https?://(?!127\.0\.0\.1)")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser. Without one the tests are skipped, but not where `.ci/run` has installed it."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        missing = f"none of {', '.join(BROWSERS)} is installed: `apt-get install chromium` on Debian"
        if os.environ.get("LFICAM_CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture(scope="session")
def trained_models(chromium: str, request: pytest.FixtureRequest) -> None:
    """The runs that the explorer shows. Where some are missing, as in a checkout, the figures are made first, which trains them."""
    configs = [config for name in EXPERIMENTS for config in experiment(name).configs()]
    if not all(is_stored(config.run_id()) for config in configs):
        request.getfixturevalue("outcome")


@pytest.fixture(scope="module")
def browser(chromium: str, trained_models: None) -> Iterator[Browser]:
    # Not for the whole session: while it is there, an event loop seems to run in this thread, and no other can be started.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=[voila, jupyterlab], ids=lambda server: server.__name__)
def site(request: pytest.FixtureRequest, trained_models: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Each server in turn."""
    with request.param(tmp_path_factory.mktemp(request.param.__name__)) as site:
        yield site


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages are kept."""
    folder = os.environ.get("LFICAM_SCREENSHOTS")
    folder = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def keep(screenshots: Path, request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a picture of a whole page, under the test's name and what it shows."""

    def keep(page: Page, what: str) -> None:
        file = screenshots / (re.sub(r"\W+", "-", f"{request.node.name}-{what}").strip("-") + ".png")
        window = page.viewport_size
        page.set_viewport_size(window | {"height": page.evaluate(HEIGHT)})
        page.screenshot(path=file)
        page.set_viewport_size(window)
        print(f"screenshot: {file}")

    return keep


@pytest.fixture
def open_page(browser: Browser, keep: Callable[[Page, str], None]) -> Iterator[Callable[[Site], Page]]:
    """Opens the explorer in a new page, which must log no error until the test ends."""
    opened: list[tuple[Site, Page]] = []
    errors: list[str] = []

    def open_page(site: Site, window: dict[str, int] = WINDOW, shows: str = ".lficam-picture") -> Page:
        page = browser.new_page(viewport=window, has_touch=window["width"] < 500)
        opened.append((site, page))
        page.set_default_timeout(REPLY)
        page.set_default_navigation_timeout(FIRST_PICTURE)  # Voilà answers when the notebook has been executed
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.route(ELSEWHERE, lambda route: (errors.append(f"asked for {route.request.url}"), route.abort()))
        site.open(page)
        expected, failed = page.locator(shows).first, page.locator(FAILED).first
        expected.or_(failed).first.wait_for(timeout=FIRST_PICTURE)
        assert not failed.is_visible(), failed.inner_text()
        page.locator(".lficam-waiting").wait_for(state="detached")  # the picture is that for the page's width
        return page

    yield open_page
    for site, page in opened:
        keep(page, "end")
        print(f"{site.name}'s log:\n" + "\n".join(site.log.read_text().splitlines()[-30:]))
        if site.name == "voila":
            page.goto("about:blank")  # leaving the page ends its kernel
        page.close()
    assert not errors, errors


@pytest.fixture
def page(open_page: Callable[[Site], Page], site: Site) -> Page:
    return open_page(site)
