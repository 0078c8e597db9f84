"""The landing page of the package in a real Chromium. Its words and states are judged by tests/suite/landing.rs."""

import json
import shutil
from collections.abc import Iterator

import pytest
from conftest import FunctionWith
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from demo.aws import CHECKOUT
from demo.endpoint import Endpoint
from demo.processes import Processes

WIDTHS = pytest.mark.parametrize("width", [360, 1280])
"""Of a phone and of a desk, in CSS pixels."""

LONGEST = "w" * 63
"""No longer word is in a table than a name that nobody put a hyphen into."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "chromium is missing: demo/packages.sh chromium"
    with sync_playwright() as playwright:
        # Its sandbox is not for root, and not for a container. What it opens here is only the page.
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=False)
        yield browser
        browser.close()


class Visit:
    """A page with all that it said to the console and asked the network."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        page.on("request", lambda request: self.requests.append(request))

    def _heard(self, message: ConsoleMessage) -> None:
        # A browser asks for it beside each plain text, at the root of the host, where a REST API has nothing.
        if not message.location["url"].endswith("/favicon.ico"):
            self.complaints.append(f"{message.type}: {message.text} at {message.location['url']}")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    context = browser.new_context()
    yield Visit(context.new_page())
    context.close()


@pytest.fixture(scope="module")
def odd(function_with: FunctionWith, running: Processes) -> Endpoint:
    """A function with queries that failed, that are disabled, and whose names are no metrics'."""
    queries = running.folder / "odd.yml"
    one = "SELECT 1 AS v"
    declared = {
        "good": {"query": one},
        LONGEST: {"query": one},
        "fails": {"query": "SELECT missing"},
        "disabled": {"query": one, "metrics": [{"v": {"usage": "NONSENSE"}}]},
        'a<b>&"c ü': {"query": one, "name": "odd"},
        "old": {"query": one, "runonserver": "<9.0.0"},
    }
    queries.write_text(json.dumps(declared))
    return function_with("odd", queries)[0]


def opened(visit: Visit, endpoint: Endpoint, width: int = 1280) -> Page:
    """The page after a scrape, which is checked for what holds of each."""
    visit.page.set_viewport_size({"width": width, "height": 800})
    assert endpoint.get("/metrics").status == 200
    # By the name that people use, which a browser finds on this machine.
    answer = visit.page.goto(endpoint.url + "/", wait_until="networkidle")
    assert answer and answer.status == 200
    assert visit.complaints == []
    # Nothing but the page itself, and of no other host; data: is the icon's, which no browser needs to ask for.
    assert [request.url for request in visit.requests if not request.url.startswith("data:")] == [answer.url]
    return visit.page


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@WIDTHS
def test_it_fits_and_looks_at_nothing_else(visit: Visit, endpoint: Endpoint, way: str, width: int) -> None:
    page = opened(visit, endpoint, width)
    assert overflow(page) == 0
    assert page.title() == "pg-lambda-exporter"
    page.screenshot(path=CHECKOUT / "target" / f"landing-{way}-{width}.png", full_page=True)


# The emulator takes a prefix off the path that nobody tells the function of; AWS does not.
@pytest.mark.parametrize("way", ["http-api", "rest-api"])
def test_each_link_leads_to_what_it_names(visit: Visit, endpoint: Endpoint) -> None:
    page = opened(visit, endpoint)
    links = {link.text_content(): link.evaluate("link => link.href") for link in page.get_by_role("link").all()}
    assert len(links) > 30 and {"metrics", "health", "pg_database"} <= set(links)
    assert all(href.startswith(endpoint.url + "/") for href in links.values()), links
    for text, href in links.items():
        answer = page.goto(href)
        assert answer and answer.status == 200, href
        assert answer.headers["content-type"].startswith("text/plain"), href
        if text not in ("metrics", "health"):
            assert f'query="{text}"' in answer.text(), href
    assert visit.complaints == []


@WIDTHS
def test_odd_names_and_failures_fit_too(visit: Visit, odd: Endpoint, width: int) -> None:
    visit.page.emulate_media(color_scheme="dark")
    page = opened(visit, odd, width)
    assert overflow(page) == 0
    page.screenshot(path=CHECKOUT / "target" / f"landing-odd-{width}.png", full_page=True)
    rows = page.locator("tbody tr").all()
    said = {row.locator("th").text_content(): row.locator(".state").text_content() for row in rows}
    assert said == {
        "good": "ok",
        LONGEST: "ok",
        "fails": "failed: undefined",
        "disabled": "failed: config",
        'a<b>&"c ü': "ok",
        "old": "skipped: version",
    }


@WIDTHS
def test_a_screen_reader_finds_a_table(visit: Visit, odd: Endpoint, width: int) -> None:
    """By the tree that Chromium gives to assistive programs, on a phone too, where the table looks like a list."""
    page = opened(visit, odd, width)
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    tree = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node["ignored"]]
    assert [name for role, name in tree if role == "columnheader"] == ["Query", "State", "Rows", "Took", "When"]
    assert {name for role, name in tree if role == "rowheader"} >= {"good", "fails", "disabled", "old"}
    roles = {role for role, _ in tree}
    assert {"RootWebArea", "banner", "main", "heading"} <= roles, roles
    assert {("navigation", "Endpoints"), ("table", "Last result of each query in this environment")} <= set(tree)
