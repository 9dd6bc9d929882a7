"""The built service, for the checks: its settings, and a process of it."""

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import trustme

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ["IDENTITY_BINARY"]

# Any free port, and no wait at the end
OVERRIDES = {
    "GRPC_ADDR": "0.0.0.0:0",
    "HTTP_ADDR": "0.0.0.0:0",
    "METRICS_ADDR": "0.0.0.0:0",
    "DRAIN_DELAY": "0s",
    "LOG_FORMAT": "json",
}


def settings():
    """Returns the names of all environment variables that the service reads, without the prefix IDENTITY_."""
    text = run({}, "serve", "--help").stdout
    return set(re.findall(r"\[env:\s+(\w+)\]", text))


def run(environment, *arguments):
    """Runs a command of the service to its end, with this environment and no more."""
    return subprocess.run(
        [BINARY, *arguments], env=environment, capture_output=True, text=True, timeout=60, cwd=tempfile.gettempdir()
    )


def parse_environment(text):
    """Returns the variables of a file of NAME=VALUE lines."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def seconds(text):
    """Returns a time such as 10s or 1m 30s in seconds."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    parts = re.findall(r"(\d+)\s*(ms|s|m|h)", text)
    if not parts:
        raise ValueError(f"not a time: {text}")
    return sum(int(number) * units[unit] for number, unit in parts)


def port(address):
    return int(address.rsplit(":", 1)[1])


class Files:
    """Real files in place of the secrets of a deployment: an SQLite database, a certificate, a caller."""

    def __init__(self, folder):
        self.folder = Path(folder)
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        self.database_url = self._write("database-url", f"sqlite://{self.folder}/identity.db?mode=rwc")
        self.certificate = self._write("tls.crt", certificate.cert_chain_pems[0].bytes().decode())
        self.key = self._write("tls.key", certificate.private_key_pem.bytes().decode())
        self.callers = self.folder / "callers.toml"
        made = run({}, "token", "new", "checkout", "--scope", "identify", "--tokens-file", str(self.callers))
        assert made.returncode == 0, made.stderr

    def _write(self, name, content):
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        return path

    def replace(self, environment):
        """Returns the environment with these files in place of those that it names."""
        real = {
            "DATABASE_URL_FILE": self.database_url,
            "TLS_CERT": self.certificate,
            "TLS_KEY": self.key,
            "TOKENS_FILE": self.callers,
        }
        return environment | {name: str(path) for name, path in real.items() if name in environment}


class Service:
    """A process of `identity serve`, until the end of a `with` block."""

    def __init__(self, environment):
        self.environment = environment | OVERRIDES
        self.addresses = {}

    def __enter__(self):
        self.log = tempfile.TemporaryFile(mode="w+", encoding="utf-8")
        self.process = subprocess.Popen([BINARY, "serve"], env=self.environment, stderr=self.log)
        end = time.monotonic() + 60
        while not self.addresses and time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.05)
            for line in self.lines():
                if line["message"] == "serving":
                    names = ["grpc", "http", "metrics"]
                    self.addresses = {name: line[f"{name}.address"] for name in names if f"{name}.address" in line}
        if not self.addresses:
            self.__exit__()
            raise AssertionError(f"the service does not serve: {self.text}")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.status = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.log.seek(0)
            self.text = self.log.read()
            self.log.close()

    def lines(self):
        """Returns the complete lines of the log."""
        if not self.log.closed:
            self.log.seek(0)
            self.text = self.log.read()
        return [json.loads(line) for line in self.text.splitlines(keepends=True) if line.endswith("\n")]

    def port(self, name):
        return port(self.addresses[name])
