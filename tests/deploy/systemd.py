"""deploy/systemd: a unit that systemd accepts, that is hardened, and that fits the service."""

import subprocess
import tempfile
import unittest
from pathlib import Path

import service
from service import ROOT

UNIT = ROOT / "deploy/systemd/identity.service"
PROGRAM = "/usr/local/bin/identity"
# The highest exposure that is accepted, in tenths. A service without any hardening has 96.
MAX_EXPOSURE = 13


def values(name):
    """Returns the values of a key of the unit, in order."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return [line.split("=", 1)[1] for line in lines if line.startswith(f"{name}=")]


def environment():
    """Returns the variables of the unit and of its file."""
    found = dict(value.split("=", 1) for value in values("Environment"))
    for file in values("EnvironmentFile"):
        found |= service.parse_environment((UNIT.parent / Path(file).name).read_text(encoding="utf-8"))
    return found


class Unit(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def analyze(self, *arguments):
        """Runs systemd-analyze on the unit, with the built service in place of the installed one."""
        unit = UNIT.read_text(encoding="utf-8")
        self.assertIn(PROGRAM, unit)
        copy = Path(self.folder) / UNIT.name
        copy.write_text(unit.replace(PROGRAM, service.BINARY), encoding="utf-8")
        command = ["systemd-analyze", *arguments, str(copy)]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)

    def test_systemd_accepts_the_unit_without_a_word(self):
        verified = self.analyze("verify", "--man=no", "--recursive-errors=no")
        self.assertEqual((verified.returncode, verified.stdout), (0, ""))

    def test_the_unit_is_hardened(self):
        checked = self.analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "--no-pager")
        self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_each_variable_is_a_setting_of_the_service(self):
        self.assertEqual(environment().keys() - service.settings(), set())

    def test_each_credential_is_loaded_and_used(self):
        loaded = {f"%d/{value.split(':')[0]}" for value in values("LoadCredential")}
        used = [value for value in environment().values() if value.startswith("%d/")]
        self.assertEqual(loaded, set(used))
        for value in values("LoadCredential"):
            name, source = value.split(":")
            self.assertEqual(source, f"/etc/identity/{name}")

    def test_the_service_has_time_to_drain(self):
        times = [environment().get("DRAIN_DELAY", "0s"), environment()["DRAIN_TIMEOUT"]]
        [limit] = values("TimeoutStopSec")
        self.assertGreater(service.seconds(limit), sum(map(service.seconds, times)) + 5)

    def test_the_service_runs_with_the_settings_of_the_unit(self):
        [command] = values("ExecStart")
        self.assertEqual(command, f"{PROGRAM} serve")
        settings = service.Files(self.folder).replace(environment())
        with service.Service(settings) as running:
            healthy = service.run(settings | {"GRPC_ADDR": running.addresses["grpc"]}, "healthcheck")
            self.assertEqual((healthy.returncode, healthy.stderr), (0, ""))
        # Exit status 0 after SIGTERM, which is how systemd stops it
        self.assertEqual(running.status, 0)

    def test_a_wrong_setting_has_the_exit_status_that_prevents_a_restart(self):
        refused = service.run({"DRAIN_TIMEOUT": "wrong"}, "serve")
        self.assertEqual(values("RestartPreventExitStatus"), [str(refused.returncode)])


if __name__ == "__main__":
    unittest.main()
