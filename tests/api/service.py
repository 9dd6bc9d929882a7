"""The built service, for the checks: a process of it on a new SQLite file, at a free port of loopback."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ["IDENTITY_BINARY"]


def served_port(log):
    """Returns the port that a log says; `None` before it says one. A panic is a line that is no JSON."""
    for line in log.splitlines(keepends=True):
        if line.startswith("{") and line.endswith("}\n") and (said := json.loads(line))["message"] == "serving":
            return int(said["http.address"].rsplit(":", 1)[1])
    return None


def new_token(caller, scope, environment):
    """Adds a caller to the file of callers, and returns its token."""
    command = [BINARY, "token", "new", caller, "--scope", scope]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return made.stdout.strip()


class Service:
    """A process of `identity serve` until the end of a `with` block, with these settings and, if asked, with tokens."""

    def __init__(self, settings=None, with_tokens=False):
        self.settings = settings or {}
        self.with_tokens = with_tokens
        self.port = None

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        environment = {
            "DATABASE_URL": f"sqlite://{folder}/identity.db?mode=rwc",
            "GRPC_ADDR": "127.0.0.1:0",
            "HTTP_ADDR": "127.0.0.1:0",
            "LOG_FORMAT": "json",
        }
        if self.with_tokens:
            environment["TOKENS_FILE"] = str(folder / "callers.toml")
            self.token = new_token("browser", "identify", environment)
            self.reader = new_token("reader", "read", environment)
        log = folder / "log"
        with log.open("w") as stderr:
            self.process = subprocess.Popen([BINARY, "serve"], env=environment | self.settings, stderr=stderr)
        end = time.monotonic() + 60
        while self.port is None and time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.05)
            self.port = served_port(log.read_text(encoding="utf-8"))
        if self.port is None:
            said = log.read_text(encoding="utf-8")
            self.__exit__()
            raise AssertionError(f"the service does not serve: {said}")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.folder.cleanup()

    def origin(self, host="127.0.0.1"):
        return f"http://{host}:{self.port}"

    def get(self, path, headers=None):
        """Returns the status, the headers and the body of a GET."""
        return self.call(Request(self.origin() + path, headers=headers or {}))

    def post(self, path, body):
        """Returns the JSON of the answer to a POST with JSON, which succeeds."""
        headers = {"content-type": "application/json"}
        if self.with_tokens:
            headers["authorization"] = f"Bearer {self.token}"
        status, _, answer = self.call(Request(self.origin() + path, json.dumps(body).encode(), headers))
        assert status == 200, answer
        return json.loads(answer)

    def call(self, request):
        try:
            with urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except HTTPError as error:
            return error.code, error.headers, error.read()
