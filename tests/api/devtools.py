"""Chromium without a window, driven by its DevTools protocol."""

import json
import os
import subprocess
import tempfile
import time
from base64 import b64decode
from contextlib import ExitStack
from pathlib import Path

from websockets.sync.client import connect

PROFILES = Path(__file__).resolve().parents[2] / "target/tools/api/profiles"
PATIENCE = 60  # seconds, for a busy machine


class Browser:
    """A process of Chromium with one page, until the end of a `with` block. It remembers what the page does."""

    def __init__(self, *flags):
        self.flags = flags
        self.next_id = 0
        self.closing = ExitStack()
        self.events = []

    def __enter__(self):
        # Not below /tmp: a Chromium in a snap cannot see it.
        PROFILES.mkdir(parents=True, exist_ok=True)
        self.profile = tempfile.TemporaryDirectory(dir=PROFILES, ignore_cleanup_errors=True)
        command = [os.environ["CHROMIUM"], "--headless=new", "--remote-debugging-port=0"]
        command.append(f"--user-data-dir={self.profile.name}")
        command += ["--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
        command += ["--disable-component-update", "--disable-sync", "--no-proxy-server", "--window-size=1200,1600"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # Its sandbox refuses root.
        self.log = open(Path(self.profile.name) / "log", "w+", encoding="utf-8")
        # The home of the user may not be writable, and must not matter.
        environment = os.environ | {"HOME": self.profile.name}
        self.process = subprocess.Popen(
            [*command, *self.flags, "about:blank"], stdout=self.log, stderr=self.log, env=environment
        )
        try:
            port, path = self.address()
            url = f"ws://127.0.0.1:{port}{path}"
            self.socket = self.closing.enter_context(connect(url, max_size=None, proxy=None, open_timeout=PATIENCE))
            self.session = None
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ["Page", "Runtime", "Network", "Log", "Audits"]:
                self.send(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.closing.close()
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.profile.cleanup()

    def address(self):
        """Returns the port and the path that Chromium writes down when it is ready."""
        file = Path(self.profile.name) / "DevToolsActivePort"
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            if file.exists() and len(lines := file.read_text().splitlines()) == 2:
                return lines
            time.sleep(0.05)
        self.log.seek(0)
        raise AssertionError(f"Chromium does not start: {self.log.read()}")

    def send(self, method, **parameters):
        """Carries out a command, and returns its result."""
        self.next_id += 1
        message = {"id": self.next_id, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = self.receive()
            if answer.get("id") == self.next_id:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def receive(self):
        """Returns the next message, and remembers it if it is an event."""
        message = json.loads(self.socket.recv(timeout=PATIENCE))
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    def open(self, url):
        """Opens a page, and returns when its document has replaced the one before."""
        self.events.clear()
        begun = self.send("Page.navigate", url=url)
        if "errorText" in begun:
            raise AssertionError(f"{url}: {begun['errorText']}")
        while not self.has_begun(begun["loaderId"]):
            self.receive()

    def has_begun(self, loader):
        frames = [event["frame"] for method, event in self.events if method == "Page.frameNavigated"]
        return any(frame["loaderId"] == loader for frame in frames)

    def settle(self):
        """Returns when the page has drawn twice, so that what it did before has its events."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def evaluate(self, expression):
        """Returns the value of JavaScript in the page."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def until(self, expression):
        """Waits until JavaScript has a value that is true, and returns it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.05)
        page = self.evaluate("document.body.innerText")
        raise AssertionError(f"waited in vain for {expression}; problems: {self.problems()}; the page: {page}")

    def click(self, selector):
        self.until(f"!!document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector, text):
        """Types text into a field, in place of what is there."""
        self.until(f"!!document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.send("Input.insertText", text=text)

    def press_enter(self):
        """Presses the key in the element that has the focus."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self.send("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        self.send("Input.dispatchKeyEvent", type="keyUp", **key)

    def requests(self):
        """Returns the addresses of all requests since the page was opened."""
        return [event["request"]["url"] for method, event in self.events if method == "Network.requestWillBeSent"]

    def problems(self):
        """Returns the errors in the console, exceptions, and violations of the page's policy."""
        self.settle()
        found = []
        for method, event in self.events:
            if method == "Runtime.exceptionThrown":
                found.append(event["exceptionDetails"])
            elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
                found.append(event["entry"])
            elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
                found.append(event["args"])
            elif method == "Audits.issueAdded" and event["issue"]["code"] != "GenericIssue":  # such as unnamed fields
                found.append(event["issue"])
        return found

    def picture(self, first, last):
        """Returns the page as PNG, from the top of an element to the bottom of another."""
        top = self.evaluate(f"document.querySelector({json.dumps(first)}).getBoundingClientRect().top + scrollY")
        bottom = self.evaluate(f"document.querySelector({json.dumps(last)}).getBoundingClientRect().bottom + scrollY")
        clip = {"x": 0, "y": top, "width": 1200, "height": bottom - top + 20, "scale": 0.75}
        taken = self.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return b64decode(taken["data"])
