"""Dockerfile and compose.yaml: what can be checked without a container engine."""

import fnmatch
import json
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

import service
from service import ROOT

DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "compose.yaml"
TOOLS = Path(sys.executable).parent


def call(*command, cwd=ROOT):
    """Runs a program and returns its status and all that it prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, cwd=cwd)
    return done.returncode, done.stdout


def stages():
    """Returns the instructions of each stage of the Dockerfile, as pairs of a name and its arguments."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, arguments = line.split(maxsplit=1)
        if name == "FROM":
            found.append([])
        found[-1].append((name, " ".join(arguments.split())))
    return found


def last(name):
    """Returns the arguments of the only instruction of this name in the last stage."""
    [arguments] = [arguments for instruction, arguments in stages()[-1] if instruction == name]
    return arguments


def image_environment():
    return dict(pair.split("=", 1) for pair in last("ENV").split())


def compose():
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))


def is_in_context(path):
    """Says whether .dockerignore lets this path, from the root of the repository, into the build."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line]
    rules = [line for line in patterns if not line.startswith("#")]
    assert rules[0] == "*" and all(rule.startswith("!") for rule in rules[1:]), "the rules are a list of exceptions"
    ways = [path, *map(str, Path(path).parents)]
    return any(fnmatch.fnmatchcase(way, rule[1:]) for rule in rules[1:] for way in ways)


class Image(unittest.TestCase):
    def test_hadolint_has_nothing_to_say(self):
        self.assertEqual(call(TOOLS / "hadolint", "--no-color", str(DOCKERFILE)), (0, ""))

    def test_each_file_that_the_build_reads_is_in_its_context(self):
        read = {Path(name) for name in ["Cargo.toml", "Cargo.lock", "build.rs", "migration/Cargo.toml", "proto"]}
        sources = [ROOT / "build.rs", *(ROOT / "src").rglob("*.rs"), *(ROOT / "migration").rglob("*.rs")]
        for source in sources:
            read.add(source.relative_to(ROOT))
            for included in re.findall(r'include(?:_str|_bytes)?!\("([^"]+)"\)', source.read_text(encoding="utf-8")):
                read.add((source.parent / included).resolve().relative_to(ROOT))
        self.assertIn(Path("docs/openapi.yaml"), read)
        self.assertIn(Path("third_party/swagger-ui/swagger-ui.css.gz"), read)
        self.assertEqual({path for path in read if not is_in_context(str(path))}, set())
        self.assertFalse(is_in_context("target") or is_in_context(".git") or is_in_context("identity.db"))

    def test_cargo_accepts_the_context(self):
        """Tests and benchmarks that Cargo.toml names are not in the context."""
        with tempfile.TemporaryDirectory() as folder:
            for name in ["Cargo.toml", "Cargo.lock", "build.rs"]:
                shutil.copy(ROOT / name, folder)
            for name in ["migration", "proto", "src"]:
                shutil.copytree(ROOT / name, Path(folder) / name)
            status, said = call("cargo", "metadata", "--no-deps", "--locked", "--format-version=1", cwd=folder)
            self.assertEqual(status, 0, said)

    def test_the_image_has_a_numeric_user_and_a_stripped_binary(self):
        self.assertRegex(last("USER"), r"^[1-9]\d{4,}:[1-9]\d{4,}$")
        [run] = [arguments for name, arguments in stages()[0] if name == "RUN"]
        self.assertIn("cargo build --release --locked", run)
        self.assertIn("strip --strip-all -o /identity target/release/identity", run)
        copied = [arguments for name, arguments in stages()[-1] if name == "COPY"]
        self.assertEqual(copied[0], "--from=build /identity /usr/local/bin/identity")
        # Licences, of the service and of what is in its binary.
        licences = {path for arguments in copied[1:] for path in arguments.split()[:-1]}
        ours = {"LICENSE-APACHE", "LICENSE-MIT"}
        others = {f"swagger-ui/{name}" for name in ["LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"]}
        others.add("cytoscape/LICENSE")
        self.assertEqual(licences, ours | {f"third_party/{name}" for name in others})
        for path in licences:
            self.assertTrue((ROOT / path).is_file() and is_in_context(path), path)

    def test_settings_and_ports_are_those_of_the_service(self):
        settings = image_environment()
        self.assertEqual(settings.keys() - service.settings(), set())
        self.assertEqual(last("EXPOSE").split(), [str(service.port(address)) for address in settings.values()])

    def test_the_commands_of_the_image_serve_and_check(self):
        entry, command = json.loads(last("ENTRYPOINT")), json.loads(last("CMD"))
        self.assertEqual((entry, command), (["identity"], ["serve"]))
        check = json.loads(last("HEALTHCHECK").split(" CMD ")[1])
        self.assertEqual(check[0], "identity")
        with tempfile.TemporaryDirectory() as folder:
            settings = image_environment() | {"DATABASE_URL": f"sqlite://{folder}/identity.db?mode=rwc"}
            refused = service.run(settings | service.OVERRIDES, *command)
            self.assertEqual(refused.returncode, 2, "it serves strangers")
            self.assertIn("TOKENS_FILE", refused.stderr)
            settings |= {"INSECURE": "true"}
            with service.Service(settings) as running:
                # As in the container: the address with all interfaces
                healthy = service.run(settings | {"GRPC_ADDR": running.addresses["grpc"]}, *check[1:])
                self.assertEqual((healthy.returncode, healthy.stderr), (0, ""))
            self.assertEqual(running.status, 0)
            unhealthy = service.run(settings | {"GRPC_ADDR": running.addresses["grpc"]}, *check[1:])
            self.assertEqual(unhealthy.returncode, 1)


class Compose(unittest.TestCase):
    def test_the_file_fits_the_specification_of_compose(self):
        for path in [COMPOSE, ROOT / "compose.test.yaml"]:
            checked = call(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(path))
            self.assertEqual(checked[0], 0, checked[1])

    def test_each_variable_is_a_setting_and_each_port_is_the_image_s(self):
        identity = compose()["services"]["identity"]
        self.assertEqual(identity["environment"].keys() - service.settings(), set())
        ports = [entry.rsplit(":", 1)[1] for entry in identity["ports"]]
        self.assertEqual(ports, last("EXPOSE").split())
        drain = service.seconds(identity["environment"]["DRAIN_TIMEOUT"])
        self.assertGreater(service.seconds(identity["stop_grace_period"]), drain + 5)

    def test_the_database_is_the_one_that_mysql_makes(self):
        services = compose()["services"]
        mysql = services["mysql"]["environment"]
        user, password, name = (mysql[f"MYSQL_{part}"] for part in ["USER", "PASSWORD", "DATABASE"])
        expected = f"mysql://{user}:{password}@mysql:3306/{name}"
        self.assertEqual(services["identity"]["environment"]["DATABASE_URL"], expected)

    def test_strangers_reach_no_port(self):
        for name, entry in compose()["services"].items():
            for port in entry.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")

    def test_each_mounted_file_exists(self):
        volumes = [volume for entry in compose()["services"].values() for volume in entry.get("volumes", [])]
        mounted = [volume.split(":")[0] for volume in volumes if volume.startswith("./")]
        self.assertGreaterEqual(len(mounted), 5)
        for path in mounted:
            self.assertTrue((ROOT / path).exists(), path)

    def test_the_service_runs_with_its_settings(self):
        identity = compose()["services"]["identity"]["environment"]
        with tempfile.TemporaryDirectory() as folder:
            database = {"DATABASE_URL": f"sqlite://{folder}/identity.db?mode=rwc"}
            with service.Service(image_environment() | identity | database) as running:
                self.assertEqual(running.addresses.keys(), {"grpc", "http", "metrics"})
            self.assertEqual(running.status, 0)

    def test_prometheus_accepts_its_configuration_and_scrapes_its_port(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(ROOT / "deploy/compose/prometheus.yaml", folder)
            shutil.copy(ROOT / "deploy/prometheus/rules.yaml", folder)
            checked = call("promtool", "check", "config", "prometheus.yaml", cwd=folder)
            self.assertEqual(checked[0], 0, checked[1])
            configuration = yaml.safe_load((Path(folder) / "prometheus.yaml").read_text(encoding="utf-8"))
        [job] = configuration["scrape_configs"]
        metrics = service.port(image_environment()["METRICS_ADDR"])
        self.assertEqual(job["static_configs"], [{"targets": [f"identity:{metrics}"]}])

    def test_grafana_gets_its_source_and_its_dashboard(self):
        services = compose()["services"]
        targets = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])

        def read(path):
            return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))

        [source] = read("deploy/compose/grafana-datasource.yaml")["datasources"]
        self.assertEqual((source["type"], source["url"]), ("prometheus", "http://prometheus:9090"))
        [provider] = read("deploy/compose/grafana-dashboards.yaml")["providers"]
        self.assertEqual(targets["./deploy/grafana"], provider["options"]["path"])


if __name__ == "__main__":
    unittest.main()
