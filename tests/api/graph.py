"""The page /graph in Chromium: it finds a customer, draws and explains it, and shows its past."""

import json
import sys
import time
from pathlib import Path

from cases import PageCase
from devtools import Browser
from service import Service

GEORGE, BIFF = "george@hillvalley.edu", "biffsucks@hillvalley.edu"
# The worked example: the customers 3 and 4 become one. Then 3 gets a contact by an e-mail address of 4.
EXAMPLE = [
    ("lorraine@hillvalley.edu", "123456"),
    ("mcfly@hillvalley.edu", "123456"),
    (GEORGE, "919191"),
    (BIFF, "717171"),
    (GEORGE, "717171"),
    (BIFF, "555000"),
]
# What the library has drawn. A line of the set `s` between two identifiers is an element with the set as its id.
DRAWN = "document.querySelector('#graph')._cyreg.cy"
SHOWN = f"{DRAWN}.elements(':visible')"


def identify(service, *pairs):
    for email, phone in pairs:
        service.post("/identify", {"email": email, "phoneNumber": phone})


def text_of(browser, selector):
    return browser.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")


def open_page(browser, origin, path="/graph"):
    browser.open(origin + path)
    browser.until("document.querySelector('#show')?.disabled === false")


def find(browser, who):
    browser.type("#who", who)
    browser.click("#show")


def shown(browser, customer):
    """Waits until a customer is there, and until the service has been asked about it."""
    browser.until(f"document.querySelector('#title').textContent === 'Customer {customer}'")
    browser.until("document.querySelector('#busy').textContent === ''")
    browser.until("document.querySelectorAll('#evidence tbody tr').length")


def give_token(browser, token):
    browser.until("!document.querySelector('#access').hidden")
    browser.type("#token", token)
    browser.click("#use")


def message(browser):
    """Returns the error that the page shows."""
    text = "document.querySelector('#message-text').innerText"
    return browser.until(f"!document.querySelector('#message').hidden && {text}")


def nodes(browser):
    """Returns the colours of the identifiers that are drawn."""
    browser.settle()
    found = browser.evaluate(f"{SHOWN}.nodes().map(node => [node.data('label'), node.data('colour')])")
    return dict(found)


def lines(browser, kind=""):
    """Returns the evidence that is drawn as lines, all of it or that of a class."""
    browser.settle()
    return set(browser.evaluate(f"{SHOWN}.filter('edge{kind}').map(edge => edge.data('set'))"))


def place(browser, value):
    """Returns where an identifier is drawn, in the window."""
    find_node = f"{SHOWN}.nodes().filter(node => node.data('label') === {json.dumps(value)})"
    browser.evaluate("document.querySelector('#graph').scrollIntoView({block: 'center'})")
    return browser.evaluate(
        f"(() => {{ const at = {find_node}.renderedPosition(); const box ="
        " document.querySelector('#graph').getBoundingClientRect(); return [box.x + at.x, box.y + at.y]; })()"
    )


def mouse(browser, *places):
    """Presses the button at the first place, moves to the others, and releases it."""
    x, y = places[0]
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    browser.send("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
    for x, y in places[1:]:
        browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
        browser.settle()
    browser.send("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)
    browser.settle()


def click_nodes(browser, *values):
    for value in values:
        mouse(browser, place(browser, value))
        time.sleep(0.4)  # two clicks in a row are none of one node


def pick(browser, value):
    """Picks an identifier in the table of contacts."""
    browser.until(
        "(() => { const all = [...document.querySelectorAll('#contacts .value')];"
        f"const found = all.find(button => button.innerText === {json.dumps(value)});"
        "found?.click(); return !!found; })()"
    )


def steps(browser, selector):
    """Returns the evidence that a list in words names."""
    texts = browser.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map(item => item.innerText)")
    return [text.rsplit("(", 1)[1].rstrip(")") for text in texts]


def path_text(browser):
    """Returns the path and the weakest cut."""
    browser.until("document.querySelectorAll('#path-text ol').length === 2")
    return steps(browser, "#path-text ol:nth-of-type(1) li"), steps(browser, "#path-text ol:nth-of-type(2) li")


def switch(browser, evidence):
    browser.click(f"[aria-label='{evidence} counts']")


def parts_text(browser, count):
    """Waits for so many parts, and returns what is said of each."""
    browser.until(f"document.querySelectorAll('#parts-text .part').length === {count}")
    return browser.evaluate("[...document.querySelectorAll('#parts-text .part')].map(part => part.innerText)")


def go_to(browser, step):
    """Moves the slider."""
    browser.evaluate(
        f"(() => {{ const slider = document.querySelector('#moment'); slider.value = {step};"
        "slider.dispatchEvent(new Event('input')); })()"
    )


def rows(browser, table):
    return browser.evaluate(f"document.querySelectorAll('#{table} tbody tr').length")


class Graph(PageCase):
    def test_it_finds_a_customer_and_draws_it(self):
        with Service() as service, Browser() as browser:
            identify(service, *EXAMPLE)
            for path in ["/graph", "/graph/"]:
                open_page(browser, service.origin(), path)
                for who in ["717171", f" {GEORGE.upper()} ", "identities/4", "id 4", "#5"]:
                    with self.subTest(who):
                        find(browser, who)
                        shown(browser, 3)
                        self.assertEqual(set(nodes(browser)), {GEORGE, BIFF, "919191", "717171", "555000"})
                        self.assertEqual(lines(browser), {"evidence/c3", "evidence/c4", "evidence/e1", "evidence/c5"})
                        self.assertEqual((rows(browser, "contacts"), rows(browser, "evidence")), (3, 4))
                        self.assertEqual(len(set(nodes(browser).values())), 1)
                        browser.evaluate("document.querySelector('#title').textContent = ''")
                self.assert_clean(browser, service.origin())
                # No personal data in an address.
                addresses = [*browser.requests(), browser.evaluate("location.href")]
                self.assertTrue(any("/v1/identities/3/evidence" in url for url in addresses))
                self.assertEqual([url for url in addresses if "717171" in url or "hillvalley" in url.lower()], [])
                self.assertTrue(addresses[-1].endswith("#identities/3"), addresses[-1])
            # The address leads back to the customer.
            open_page(browser, service.origin(), "/graph#identities/1")
            shown(browser, 1)
            self.assertEqual(set(nodes(browser)), {"lorraine@hillvalley.edu", "mcfly@hillvalley.edu", "123456"})

    def test_it_explains_two_identifiers_and_what_falls_apart(self):
        with Service() as service, Browser() as browser:
            identify(service, *EXAMPLE)
            open_page(browser, service.origin())
            find(browser, "identities/3")
            shown(browser, 3)
            click_nodes(browser, "919191", "555000")
            path, cut = path_text(browser)
            self.assertEqual(path, ["evidence/c3", "evidence/e1", "evidence/c4", "evidence/c5"])
            self.assertEqual(len(cut), 1)
            self.assertEqual((lines(browser, ".path"), lines(browser, ".cut")), (set(path), set(cut)))
            self.assertEqual(lines(browser, ".bridge"), lines(browser))
            # The keyboard picks too.
            browser.click("#unpick")
            browser.evaluate("document.querySelector('#contacts .value').focus()")
            browser.press_enter()
            browser.until("document.querySelectorAll('#contacts [aria-pressed=true]').length === 1")
            pick(browser, BIFF)
            path, cut = path_text(browser)
            self.assertEqual(path, ["evidence/e1", "evidence/c4"])
            # Without the merge there are two customers.
            switch(browser, "evidence/e1")
            first, second = parts_text(browser, 2)
            self.assertIn("Customer 3, 1 contact", first)
            self.assertIn("Customer 4, 2 contacts", second)
            colours = nodes(browser)
            self.assertEqual(len(set(colours.values())), 2)
            self.assertEqual(colours[GEORGE], colours["919191"])
            self.assertNotEqual(colours[GEORGE], colours["717171"])
            self.assertEqual(lines(browser, ".off"), {"evidence/e1"})
            switch(browser, "evidence/c5")
            parts_text(browser, 3)
            browser.click("#all-on")
            parts_text(browser, 0)
            self.assertEqual(len(set(nodes(browser).values())), 1)
            browser.click("#cut-off")
            parts_text(browser, 2)
            self.assert_clean(browser, service.origin())
            # It was a question: nothing changed.
            browser.evaluate("document.querySelector('#title').textContent = ''")
            find(browser, "identities/4")
            shown(browser, 3)

    def test_it_shows_the_notes_of_evidence(self):
        with Service() as service, Browser() as browser:
            note = {"source": "shop", "externalRef": "order-17", "occurredTime": "2026-11-01T10:00:00Z"}
            service.post("/identify", {"email": GEORGE, "phoneNumber": "919191", **note})
            service.post("/identify", {"email": GEORGE, "phoneNumber": "717171"})
            open_page(browser, service.origin())
            find(browser, GEORGE)
            shown(browser, 1)
            of_rows = text_of(browser, "#evidence tbody").splitlines()
            self.assertEqual(sum("contact 1, shop order-17 of 2026-11-01" in row for row in of_rows), 1)
            self.assertTrue(any("contact 2" in row and "shop" not in row for row in of_rows))
            pick(browser, "919191")
            path_text(browser)
            self.assertIn("contact 1, shop order-17", text_of(browser, "#path-text"))
            self.assert_clean(browser, service.origin())

    def test_the_slider_goes_through_the_history(self):
        with Service() as service, Browser() as browser:
            identify(service, *EXAMPLE)
            open_page(browser, service.origin())
            find(browser, BIFF)
            shown(browser, 3)
            self.assertIn("(4 of 4): 3 contacts and 4 sets", text_of(browser, "#moment-text"))
            browser.click("#earlier")
            self.assertIn("Customer 3 absorbed 4", text_of(browser, "#moment-text"))
            self.assertEqual((rows(browser, "contacts"), rows(browser, "evidence")), (2, 3))
            # The parts are those of that moment: contact 5 came later.
            switch(browser, "evidence/e1")
            self.assertIn("Customer 4, 1 contact", parts_text(browser, 2)[1])
            browser.click("#all-on")
            go_to(browser, 1)
            self.assertEqual((rows(browser, "contacts"), rows(browser, "evidence")), (2, 2))
            self.assertEqual(len(parts_text(browser, 2)), 2)
            self.assertEqual(lines(browser), {"evidence/c3", "evidence/c4"})
            self.assertEqual(len(set(nodes(browser).values())), 2)
            pick(browser, GEORGE)
            browser.until("document.querySelector('#path-text').innerText.includes('two customers')")
            # What was one part of two then falls apart by itself.
            switch(browser, "evidence/c4")
            parts_text(browser, 3)
            browser.click("#all-on")
            go_to(browser, 0)
            self.assertEqual(set(nodes(browser)), {GEORGE, "919191"})
            go_to(browser, 3)
            self.assertEqual(rows(browser, "contacts"), 3)
            self.assert_clean(browser, service.origin())

    def test_a_node_can_be_dragged(self):
        with Service() as service, Browser() as browser:
            identify(service, *EXAMPLE)
            open_page(browser, service.origin())
            find(browser, GEORGE)
            shown(browser, 3)
            x, y = place(browser, "919191")
            mouse(browser, (x, y), (x + 20, y + 10), (x + 60, y + 40))
            moved = place(browser, "919191")
            self.assertAlmostEqual(moved[0], x + 60, delta=3)
            self.assertAlmostEqual(moved[1], y + 40, delta=3)
            self.assert_clean(browser, service.origin())

    def test_it_needs_a_token_with_the_scope_read(self):
        with Service(with_tokens=True) as service, Browser() as browser:
            identify(service, *EXAMPLE)
            open_page(browser, service.origin())
            find(browser, GEORGE)
            self.assertIn("wants a token", message(browser))
            for token, said in [("wrong", "does not know this token"), (service.token, "lacks the scope read")]:
                give_token(browser, token)
                browser.until(f"document.querySelector('#message-text').innerText.includes('{said}')")
            give_token(browser, service.reader)
            shown(browser, 3)
            self.assertTrue(browser.evaluate("document.querySelector('#message').hidden"))
            self.assert_clean(browser, service.origin(), ["401", "401", "403"])
            stored = browser.evaluate("localStorage.length + sessionStorage.length + document.cookie.length")
            self.assertEqual(stored, 0)
            self.assertFalse(browser.evaluate(f"document.documentElement.outerHTML.includes('{service.reader}')"))
            # Another page load has no token any more.
            open_page(browser, service.origin(), "/graph?again#identities/3")
            self.assertIn("wants a token", message(browser))

    def test_it_says_what_is_unknown(self):
        with Service() as service, Browser() as browser:
            identify(service, *EXAMPLE)
            open_page(browser, service.origin())
            for who, said in [
                ("nobody@hillvalley.edu", "No customer has this e-mail address."),
                ("424242", "No customer has this phone number."),
                ("identities/99", "No customer has a contact with this id."),
                ("nobody@", "The service refused the call"),
            ]:
                browser.evaluate("document.querySelector('#message-text').textContent = ''")
                find(browser, who)
                browser.until(f"document.querySelector('#message-text').innerText.includes({json.dumps(said)})")
                self.assertNotIn(who, message(browser))
            # A number alone is a phone number. If nobody has it, it may be an id.
            find(browser, "4")
            browser.until("!document.querySelector('#as-id').hidden")
            self.assertEqual(text_of(browser, "#as-id"), "Show the customer of the contact with the id 4")
            browser.click("#as-id")
            shown(browser, 3)

    def test_it_says_that_the_service_is_gone(self):
        with Browser() as browser:
            with Service() as service:
                identify(service, *EXAMPLE)
                open_page(browser, service.origin())
                find(browser, GEORGE)
                shown(browser, 3)
            switch(browser, "evidence/c3")
            self.assertEqual(message(browser), "The service cannot be reached.")

    def test_it_can_hide_values(self):
        with Service() as service, Browser() as browser:
            identify(service, *EXAMPLE)
            open_page(browser, service.origin())
            find(browser, GEORGE)
            shown(browser, 3)
            pick(browser, BIFF)
            path_text(browser)
            browser.click("#hide")
            browser.settle()
            self.assertNotIn("hillvalley", text_of(browser, "body"))
            self.assertNotIn("717171", text_of(browser, "body"))
            self.assertEqual(set(nodes(browser)), {"e-mail 1", "e-mail 2", "phone 1", "phone 2", "phone 3"})
            masked = browser.evaluate("getComputedStyle(document.querySelector('#who')).webkitTextSecurity")
            self.assertEqual(masked, "disc")
            browser.click("#hide")
            self.assertIn(GEORGE, nodes(browser))

    def test_it_stays_usable_with_1000_contacts(self):
        with Service() as service, Browser() as browser:
            make_large(service)
            open_page(browser, service.origin())
            begun = time.monotonic()
            find(browser, "user777@example.com")
            shown(browser, 1)
            browser.settle()
            print(f"1,000 contacts: found and drawn after {time.monotonic() - begun:.1f} s", file=sys.stderr)
            self.assertEqual(len(nodes(browser)), 1010)
            self.assertEqual(len(lines(browser)), 1009)
            # Tables have pages and a filter.
            self.assertEqual(rows(browser, "contacts"), 100)
            browser.click("#contacts-pages button:last-of-type")
            self.assertTrue(text_of(browser, "#contacts-pages").startswith("101 to 200 of 1000"))
            browser.type("#filter", "user77")
            browser.until("document.querySelectorAll('#contacts tbody tr').length === 11")
            pick(browser, "user770@example.com")
            path, _ = path_text(browser)
            self.assertEqual(len(path), 2)
            begun = time.monotonic()
            go_to(browser, int(browser.evaluate("document.querySelector('#moment').max")) // 2)
            browser.settle()
            print(f"1,000 contacts: another moment after {time.monotonic() - begun:.1f} s", file=sys.stderr)
            self.assertLess(len(nodes(browser)), 900)
            browser.click("#later")
            go_to(browser, 5000)
            self.assertEqual(len(nodes(browser)), 1010)
            browser.type("#filter", "")
            switch(browser, "evidence/c2")
            parts_text(browser, 2)
            self.assert_clean(browser, service.origin())

    def test_it_fits_a_narrow_window_and_names_its_controls(self):
        with Service() as service, Browser() as browser:
            identify(service, *EXAMPLE)
            browser.send(
                "Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=False
            )
            open_page(browser, service.origin())
            find(browser, GEORGE)
            shown(browser, 3)
            pick(browser, BIFF)
            path_text(browser)
            self.assertLessEqual(browser.evaluate("document.documentElement.scrollWidth"), 360)
            self.assertGreater(browser.evaluate("document.querySelector('#graph').clientWidth"), 300)
            browser.send("Accessibility.enable")
            tree = browser.send("Accessibility.getFullAXTree")["nodes"]
            controls = ["button", "textbox", "checkbox", "slider", "table", "link"]
            found = [(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if "role" in node]
            found = [(role, name) for role, name in found if role in controls]
            self.assertGreater(len(found), 20)
            self.assertEqual([role for role, name in found if not name and role != "table"], [])

    def test_it_can_be_turned_off(self):
        with Service({"HTTP_DOCS": "false"}) as service:
            self.assertEqual([service.get(path)[0] for path in ["/graph", "/graph/", "/graph/page.js"]], [404] * 3)


def make_large(service):
    """Makes a customer of 1,000 contacts: ten phone numbers with 100 e-mail addresses each, which merges join."""
    pairs = [(f"user{number}@example.com", f"800{number // 100}") for number in range(1000)]
    for first in range(0, 1000, 100):
        items = [{"email": email, "phoneNumber": phone} for email, phone in pairs[first : first + 100]]
        service.post("/identify:batch", {"requests": items})
    identify(service, *[(f"user{number * 100}@example.com", f"800{number - 1}") for number in range(1, 10)])


def take_pictures(folder):
    with Service() as service, Browser() as browser:
        identify(service, *EXAMPLE)
        make_large(service)
        open_page(browser, service.origin())
        find(browser, GEORGE)
        shown(browser, 3)
        pick(browser, "717171")
        path_text(browser)
        switch(browser, "evidence/e1")
        parts_text(browser, 2)
        save(browser, folder / "graph-page.png")
        find(browser, "user777@example.com")
        shown(browser, 6)
        pick(browser, "user0@example.com")
        path_text(browser)
        save(browser, folder / "graph-page-large.png")


def save(browser, to):
    browser.settle()
    to.write_bytes(browser.picture("h1", "#panes"))
    print(f"{to}: {to.stat().st_size} bytes")


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]))
