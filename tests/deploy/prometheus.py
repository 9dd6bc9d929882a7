"""deploy/prometheus: a real Prometheus scrapes the service and evaluates the rules."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

import kubernetes
import service
from service import ROOT

FOLDER = ROOT / "deploy/prometheus"
TOKEN_FILE = "/etc/prometheus/identity.token"
PATIENCE = 60  # seconds
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def discovered(name, labels, metrics, phase="Running"):
    """Returns what discovery on Kubernetes makes of a pod of the Deployment: a target for each port of a container."""
    [container] = kubernetes.containers(kubernetes.deployment())
    targets = []
    for port in container["ports"]:
        number = metrics if port["name"] == "metrics" else port["containerPort"]
        meta = {
            "namespace": kubernetes.kustomization()["namespace"],
            "pod_name": name,
            "pod_phase": phase,
            "pod_node_name": "node-1",
            "pod_container_name": container["name"],
            "pod_container_port_name": port["name"],
        }
        meta |= {f"pod_label_{re.sub('[^a-zA-Z0-9_]', '_', label)}": value for label, value in labels.items()}
        found = {f"__meta_kubernetes_{label}": value for label, value in meta.items()}
        targets.append({"targets": [f"127.0.0.1:{number}"], "labels": found})
    return targets


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Prometheus:
    """A process of Prometheus with a configuration, until the end of a `with` block."""

    def __init__(self, folder, configuration):
        self.folder = Path(folder)
        self.port = free_port()
        (self.folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        shutil.copy(FOLDER / "rules.yaml", folder)

    def __enter__(self):
        self.log = open(self.folder / "log", "w+", encoding="utf-8")
        command = [
            "prometheus",
            f"--config.file={self.folder}/prometheus.yaml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env={"PATH": os.environ["PATH"]})
        return self

    def __exit__(self, *_):
        try:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.log.close()

    def ask(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with DIRECT.open(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def until(self, path, holds, **query):
        """Asks until the answer is as it must be, and returns it."""
        end = time.monotonic() + PATIENCE
        answer = None
        while time.monotonic() < end and self.process.poll() is None:
            try:
                answer = self.ask(path, **query)
                if holds(answer):
                    return answer
            except OSError:
                pass  # It starts.
            time.sleep(0.2)
        raise AssertionError(f"{path}: {json.dumps(answer)[:2000]}\n{(self.folder / 'log').read_text()[-2000:]}")


def configuration(folder, token, targets):
    """Returns deploy/prometheus/kubernetes.yaml with a real token and these targets.

    Debian builds Prometheus without discovery on Kubernetes. So a file has the targets, with the labels that discovery
    gives them. The rest is as it stands.
    """
    [path, found] = [Path(folder) / name for name in ["identity.token", "targets.json"]]
    path.write_text(token, encoding="utf-8")
    found.write_text(json.dumps(targets), encoding="utf-8")
    text = (FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")
    assert TOKEN_FILE in text
    whole = yaml.safe_load(text.replace(TOKEN_FILE, str(path)))
    [job] = whole["scrape_configs"]
    del job["kubernetes_sd_configs"]
    job["file_sd_configs"] = [{"files": [str(found)]}]
    return whole


def without_variables(query):
    """Returns a query of the dashboard as Grafana sends it."""
    for variable, value in [("$job", ".+"), ("$instance", ".+"), ("$__rate_interval", "1m"), ("$__range", "1h")]:
        query = query.replace(variable, value)
    return query


class OnKubernetes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.files = service.Files(folder.name)

    def token(self, scope):
        made = service.run({}, "token", "new", scope, "--scope", scope, "--tokens-file", str(self.files.callers))
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout

    def test_promtool_accepts_the_configuration(self):
        checked = yaml.safe_dump(configuration(self.folder, "t", discovered("identity-1", {}, 9464)))
        (self.folder / "checked.yaml").write_text(checked, encoding="utf-8")
        shutil.copy(FOLDER / "rules.yaml", self.folder)
        command = ["promtool", "check", "config", str(self.folder / "checked.yaml")]
        checked = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_discovery_selects_the_pods_of_the_service(self):
        [job] = yaml.safe_load((FOLDER / "kubernetes.yaml").read_text(encoding="utf-8"))["scrape_configs"]
        labels = kubernetes.deployment()["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        expected = {
            "role": "pod",
            "namespaces": {"names": [kubernetes.kustomization()["namespace"]]},
            "selectors": [{"role": "pod", "label": selector}],
        }
        self.assertEqual(job["kubernetes_sd_configs"], [expected])

    def test_prometheus_may_read_the_pods_of_the_namespace_and_nothing_else(self):
        [role], [binding] = kubernetes.of_kind("Role"), kubernetes.of_kind("RoleBinding")
        self.assertEqual(
            role["rules"], [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
        )
        self.assertEqual((binding["roleRef"]["kind"], binding["roleRef"]["name"]), ("Role", role["metadata"]["name"]))
        # It scrapes from the namespace that the policy of the network lets in.
        [subject] = binding["subjects"]
        [monitoring] = [
            rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            for rule in kubernetes.named("NetworkPolicy", "identity-server")["spec"]["ingress"]
            if rule["ports"] == [{"port": "metrics"}]
        ]
        self.assertEqual(subject["namespace"], monitoring)

    def test_prometheus_scrapes_the_pods_and_evaluates_the_rules(self):
        scraped, refused = self.token("metrics"), self.token("read")
        settings = self.files.replace(kubernetes.environment(kubernetes.server()))
        labels = kubernetes.deployment()["spec"]["template"]["metadata"]["labels"]
        migrated = service.run(settings | {"MIGRATE": "true"}, "migrate", "up")
        self.assertEqual(migrated.returncode, 0, migrated.stderr)
        with service.Service(settings) as running:
            port = running.port("metrics")
            targets = discovered("identity-1", labels, port) + discovered("identity-ended", labels, port, "Failed")
            for token, health in [(refused, "down"), (scraped, "up")]:
                configured = configuration(self.folder, token, targets)
                configured["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
                folder = tempfile.TemporaryDirectory()
                self.addCleanup(folder.cleanup)
                with Prometheus(folder.name, configured) as prometheus:
                    self.check(prometheus, health)

    def check(self, prometheus, health):
        targets = prometheus.until(
            "targets",
            lambda found: [target["health"] for target in found["activeTargets"]] == [health],
            state="active",
        )
        [target] = targets["activeTargets"]
        expected = {"job": "identity", "instance": "identity-1", "namespace": "identity", "node": "node-1"}
        self.assertEqual(target["labels"], expected)
        if health == "down":
            self.assertIn("403", target["lastError"])
            return
        answer = prometheus.until("query", lambda found: found["result"], query="identity_build_info")
        self.assertEqual(answer["result"][0]["metric"]["instance"], "identity-1")
        groups = prometheus.until(
            "rules",
            lambda found: all(rule["health"] == "ok" for group in found["groups"] for rule in group["rules"]),
        )["groups"]
        rules = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))["groups"]
        self.assertEqual({group["name"] for group in groups}, {group["name"] for group in rules})
        self.assertGreater(sum(len(group["rules"]) for group in groups), 15)
        # Each panel of the dashboard is a query that Prometheus understands.
        dashboard = json.loads((ROOT / "deploy/grafana/identity.json").read_text(encoding="utf-8"))
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
        self.assertGreater(len(queries), 30)
        for query in queries:
            prometheus.ask("query", query=without_variables(query))
        stale = next(query for query in queries if "identity_config_stale" in query)
        answer = prometheus.ask("query", query=without_variables(stale))
        self.assertEqual(
            {found["metric"]["what"]: found["value"][1] for found in answer["result"]},
            {"certificate": "0", "tokens": "0"},
        )


if __name__ == "__main__":
    unittest.main()
