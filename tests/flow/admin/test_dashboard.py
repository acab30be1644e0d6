"""The dashboard in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.flow.admin.browser import PROGRAM, Browser
from tests.flow.admin.conftest import TOKEN, Admin
from tests.flow.conftest import BUILD, DEADLINE_S, Origin, wait_until
from tests.flow.http.peers import HttpOrigin, get

Make = Callable[..., Admin]
Origins = Callable[..., HttpOrigin]

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="there is no chromium (apt-get install chromium)"),
    pytest.mark.skipif(BUILD == "asan", reason="a browser says nothing about our memory"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium")) as made:
        yield made


def row(server: str) -> str:
    return f"document.querySelector('[data-server=\"{server}\"]')"


def click(browser: Browser, label: str) -> None:
    """A button, by what a screen reader calls it."""
    browser.wait(f"document.querySelector('[aria-label=\"{label}\"]') !== null")
    browser.run(f"document.querySelector('[aria-label=\"{label}\"]').click()")


def test_it_shows_live_numbers(browser: Browser, admin: Make, origins: Origins) -> None:
    origin = origins()
    running = admin([origin.address])
    browser.open(running.url)
    browser.wait("document.querySelector('#state')?.textContent === 'serving'")
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            running.web.ask(get("/"))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        tile = "document.querySelector('#tiles output').textContent"
        assert float(browser.wait(f"{tile} !== '0' && {tile}").strip("kM").replace(",", "")) > 0
        browser.wait(
            f"parseFloat({row(f'api/{origin.address}')}.querySelectorAll('.n')[1].textContent) > 0"
        )
        browser.wait("document.querySelector('#listeners .line').getAttribute('d').length > 20")
    finally:
        over.set()
        thread.join()
    assert browser.run("document.querySelector('#listeners th').textContent") == "web http"
    assert browser.console == []
    browser.open("about:blank")


def test_it_drains_and_enables(browser: Browser, admin: Make, origins: Origins) -> None:
    origin = origins()
    running = admin([origin.address])
    server = running.balancer.pools["api"].servers[origin.address]
    browser.open(running.url)
    click(browser, f"Drain api/{origin.address}")
    browser.wait("document.querySelector('#confirm').open")
    assert "Drain api" in browser.run("document.querySelector('#confirm-title').textContent")
    browser.run("document.querySelector('#confirm [value=no]').click()")
    assert server.state == "unchecked"
    click(browser, f"Drain api/{origin.address}")
    browser.wait("document.querySelector('#confirm').open")
    browser.run("document.querySelector('#confirm-yes').click()")
    wait_until(lambda: server.state == "draining")
    browser.wait(f"{row(f'api/{origin.address}')}.querySelector('.chip').textContent"
                 " === 'draining'")
    browser.wait("document.querySelector('#events .chip')?.textContent === 'draining'")
    click(browser, f"Enable api/{origin.address}")
    browser.wait("document.querySelector('#confirm').open")
    browser.run("document.querySelector('#confirm-yes').click()")
    wait_until(lambda: server.state == "unchecked")
    assert browser.console == []
    browser.open("about:blank")


def test_it_asks_for_the_token(browser: Browser, admin: Make, origin: Origin) -> None:
    running = admin([origin.address], token=TOKEN)
    browser.open(running.url)
    for given in ("wrong", TOKEN):
        browser.wait("document.querySelector('#ask-token')?.open === true")
        assert origin.address not in browser.text()
        browser.run(f"document.querySelector('#token').value = '{given}';"
                    "document.querySelector('#ask-token button').click()")
    browser.wait(f"{row(f'api/{origin.address}')} !== null")
    click(browser, f"Maintenance api/{origin.address}")
    browser.wait("document.querySelector('#confirm').open")
    browser.run("document.querySelector('#confirm-yes').click()")
    server = running.balancer.pools["api"].servers[origin.address]
    wait_until(lambda: server.state == "maintenance")
    browser.open("about:blank")
    browser.console.clear()             # (the refusals)


def test_names_are_text_and_never_markup(browser: Browser, admin: Make) -> None:
    """A socket's path may have any signs, and 107 bytes."""
    path = "unix:/run/nobody/<img src=x onerror=alert(1)>&\"'"
    browser.open(admin([path]).url)
    browser.wait("document.querySelector('#pools tbody th') !== null")
    assert browser.run("document.querySelector('#pools tbody th').textContent") == path
    assert browser.run("document.querySelectorAll('#pools img').length") == 0
    assert browser.console == []
    browser.open("about:blank")


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_can_be_read(
    browser: Browser, admin: Make, origin: Origin, dark: bool
) -> None:
    browser.size(390, 844, dark=dark, phone=True)
    browser.open(admin([origin.address]).url)
    browser.wait(f"{row(f'api/{origin.address}')} !== null")
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.run(UNNAMED) == []
    assert browser.run(PALE) == []
    browser.size(1280, 860)
    browser.open("about:blank")


def test_it_says_when_nobody_answers(browser: Browser, admin: Make, origin: Origin) -> None:
    running = admin([origin.address])
    browser.open(running.url)
    browser.wait("document.querySelector('#state')?.textContent === 'serving'")
    running.balancer.stop(0).wait(DEADLINE_S)
    browser.wait("document.querySelector('#state').textContent === 'not connected'")
    browser.open("about:blank")
    browser.console.clear()


# Controls without a name, and texts of less contrast than WCAG 2.1 asks for (1.4.3: 4.5 to 1).
UNNAMED = """[...document.querySelectorAll('button, input, svg[role=img], section')]
  .filter((node) => !(node.getAttribute('aria-label') || node.textContent.trim()
    || node.labels?.length || node.getAttribute('aria-labelledby')))
  .map((node) => node.outerHTML.slice(0, 100))"""
PALE = """(() => {
  const rgba = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return found.length === 3 ? [...found, 1] : found;
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const behind = (node) => {
    const own = rgba(getComputedStyle(node).backgroundColor);
    if (own[3] === 1) return own;
    return [...over(own, node.parentElement ? behind(node.parentElement) : [255, 255, 255]), 1];
  };
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = new Set();
  const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.getClientRects().length) continue;
    const [a, b] = [light(rgba(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.add(`${walk.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
  }
  return [...found];
})()"""
