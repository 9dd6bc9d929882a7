"""The page /docs in Chromium: it loads nothing of others, lists the calls, takes a token, and tries a call."""

import json
import sys
from pathlib import Path

from cases import PageCase
from devtools import Browser
from service import Service

METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"]
IDENTIFY = "#operations-identify-identify"
STATUS = f"document.querySelector('{IDENTIFY} .live-responses-table tbody .response-col_status')?.innerText.trim()"
BODY = f"document.querySelector('{IDENTIFY} .live-responses-table tbody .highlight-code code')?.innerText"


def operations(service):
    """Returns the method and the path of each operation of the document."""
    paths = json.loads(service.get("/openapi.json")[2])["paths"]
    return sorted((method, path) for path, item in paths.items() for method in item if method in METHODS)


def listed(browser):
    """Returns those that the page shows."""
    blocks = browser.evaluate(
        "[...document.querySelectorAll('.opblock')].map(block => ["
        "block.querySelector('.opblock-summary-method').innerText.toLowerCase(),"
        "block.querySelector('.opblock-summary-path').dataset.path])"
    )
    return sorted(map(tuple, blocks))


def open_page(browser, origin, path="/docs"):
    browser.open(origin + path)
    browser.until("document.querySelectorAll('.opblock').length")


def begin_identify(browser):
    """Opens the call, with its request to edit."""
    browser.click(f"{IDENTIFY} .opblock-summary-control")
    browser.click(f"{IDENTIFY} .try-out__btn")


def execute(browser, body=None):
    """Sends the request, and returns the status that the page shows."""
    if body is not None:
        browser.type(f"{IDENTIFY} .body-param__text", body)
    if browser.evaluate(f"!!document.querySelector('{IDENTIFY} .btn-clear')"):
        browser.click(f"{IDENTIFY} .btn-clear")
        browser.until(f"!document.querySelector('{IDENTIFY} .live-responses-table')")
    browser.click(f"{IDENTIFY} .execute")
    return browser.until(STATUS)


def authorize(browser, token):
    browser.click(".auth-wrapper .authorize")
    browser.type("#auth-bearer-value", token)
    browser.click(".auth-btn-wrapper .authorize")
    browser.until("document.querySelector('.auth-btn-wrapper')?.innerText.includes('Logout')")
    browser.click(".auth-btn-wrapper .btn-done")


class Page(PageCase):
    def test_it_lists_the_calls_and_loads_nothing_of_others(self):
        with Service() as service, Browser() as browser:
            for path in ["/docs", "/docs/"]:
                open_page(browser, service.origin(), path)
                self.assertEqual(listed(browser), operations(service))
                self.assert_clean(browser, service.origin())
                files = {url.removeprefix(service.origin()) for url in browser.requests() if url.startswith("http")}
                own = {"/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/openapi.json"}
                self.assertEqual(files, own | {path})

    def test_a_call_needs_the_token_that_the_page_asks_for(self):
        with Service(with_tokens=True) as service, Browser() as browser:
            open_page(browser, service.origin())
            self.assert_clean(browser, service.origin())
            begin_identify(browser)
            self.assertEqual(execute(browser, '{"email": "marty@hillvalley.edu"}'), "401")
            self.assertIn("UNAUTHENTICATED", browser.until(BODY))
            self.assert_clean(browser, service.origin(), ["401"])
            authorize(browser, service.token)
            self.assertEqual(execute(browser), "200")
            self.assert_clean(browser, service.origin(), ["401"])
            answer = json.loads(browser.until(BODY))
            self.assertEqual(answer["contact"]["primaryContactId"], 1)
            self.assertEqual(answer["contact"]["emails"], ["marty@hillvalley.edu"])
            # Another page load has no token any more.
            open_page(browser, service.origin())
            begin_identify(browser)
            self.assertEqual(execute(browser), "401")
            self.assert_clean(browser, service.origin(), ["401"])

    def test_a_call_passes_under_each_name_of_the_service_and_no_other(self):
        settings = {"HTTP_HOST_NAMES": "identity.example"}
        rules = "--host-resolver-rules=MAP *.example 127.0.0.1"
        with Service(settings) as service, Browser(rules) as browser:
            for host, status in [
                ("127.0.0.1", "200"),
                ("localhost", "200"),
                ("identity.example", "200"),
                ("rebound.example", "403"),
            ]:
                with self.subTest(host):
                    open_page(browser, service.origin(host))
                    self.assert_clean(browser, service.origin(host))
                    begin_identify(browser)
                    self.assertEqual(execute(browser), status)
                    refused = [] if status == "200" else [status]
                    self.assert_clean(browser, service.origin(host), refused)

    def test_it_can_be_turned_off(self):
        with Service({"HTTP_DOCS": "false"}) as service:
            self.assertEqual([service.get(path)[0] for path in ["/docs", "/docs/", "/docs/start.js"]], [404] * 3)


def take_picture(to):
    """Shows the answer to the second call of the worked example."""
    with Service() as service, Browser() as browser:
        open_page(browser, service.origin())
        begin_identify(browser)
        execute(browser, '{"email": "lorraine@hillvalley.edu", "phoneNumber": "123456"}')
        execute(browser, '{"email": "mcfly@hillvalley.edu", "phoneNumber": "123456"}')
        browser.until(f"{BODY}?.includes('mcfly')")
        to.parent.mkdir(exist_ok=True)
        to.write_bytes(browser.picture(f"{IDENTIFY} .parameters-container", f"{IDENTIFY} .live-responses-table"))
    print(f"{to}: {to.stat().st_size} bytes")


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]) / "docs-page.png")
