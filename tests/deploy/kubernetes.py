"""deploy/kubernetes: valid resources that fit each other and the service."""

import tempfile
import unittest
import urllib.request

import kubernetes_validate
import yaml

import service
from service import ROOT

FOLDER = ROOT / "deploy/kubernetes"
# The oldest version that is checked, and the newest one that the validator knows
VERSIONS = ["1.29", kubernetes_validate.latest_version()]
UNPRIVILEGED = 10000  # user ids from here on belong to nobody


def kustomization():
    return yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))


def resources():
    """Returns all resources, with the ConfigMaps that kustomize generates."""
    found = []
    for name in kustomization()["resources"]:
        found += list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))
    for generator in kustomization()["configMapGenerator"]:
        data = {}
        for file in generator["envs"]:
            data |= service.parse_environment((FOLDER / file).read_text(encoding="utf-8"))
        metadata = {"name": generator["name"]}
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return found


def of_kind(kind):
    return [resource for resource in resources() if resource["kind"] == kind]


def named(kind, name):
    [resource] = [resource for resource in of_kind(kind) if resource["metadata"]["name"] == name]
    return resource


def workloads():
    return of_kind("Deployment") + of_kind("Job")


def pod(workload):
    return workload["spec"]["template"]["spec"]


def containers(workload):
    return pod(workload).get("initContainers", []) + pod(workload)["containers"]


def environment(container):
    """Returns the environment of a container. Variables of its own win over those of a ConfigMap."""
    found = {}
    for source in container.get("envFrom", []):
        found |= named("ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {variable["name"]: variable["value"] for variable in container.get("env", [])}


def files(workload, container):
    """Returns the paths of the files that the mounted Secrets have in a container."""
    volumes = {volume["name"]: volume["secret"] for volume in pod(workload)["volumes"]}
    found = set()
    for mount in container["volumeMounts"]:
        secret = volumes[mount["name"]]
        keys = named("Secret", secret["secretName"])["stringData"].keys()
        items = secret.get("items", [{"key": key, "path": key} for key in keys])
        found |= {f"{mount['mountPath']}/{item['path']}" for item in items if item["key"] in keys}
    return found


def deployment():
    [found] = of_kind("Deployment")
    return found


def server():
    [container] = containers(deployment())
    return container


def is_selected(labels):
    return labels.items() <= deployment()["spec"]["template"]["metadata"]["labels"].items()


class Resources(unittest.TestCase):
    def test_each_resource_fits_the_schema_of_its_kind(self):
        for version in VERSIONS:
            for resource in resources():
                with self.subTest(version=version, kind=resource["kind"], name=resource["metadata"]["name"]):
                    kubernetes_validate.validate(resource, version, strict=True)

    def test_the_kustomization_lists_each_file(self):
        listed = {"kustomization.yaml", *kustomization()["resources"]}
        for generator in kustomization()["configMapGenerator"]:
            listed |= set(generator["envs"])
        self.assertEqual(listed, {path.name for path in FOLDER.iterdir()})
        known = {"apiVersion", "kind", "namespace", "resources", "configMapGenerator", "images"}
        self.assertEqual(kustomization().keys(), known)
        self.assertEqual(kustomization()["namespace"], of_kind("Namespace")[0]["metadata"]["name"])
        images = {container["image"] for workload in workloads() for container in containers(workload)}
        self.assertEqual(images, {image["name"] for image in kustomization()["images"]})

    def test_no_secret_has_a_value(self):
        for secret in of_kind("Secret"):
            self.assertNotIn("data", secret)
            for key, value in secret["stringData"].items():
                self.assertIn("REPLACE_ME", value, key)

    def test_resources_select_the_pods_of_the_service(self):
        labels = deployment()["spec"]["selector"]["matchLabels"]
        self.assertTrue(is_selected(labels))
        [budget], [balanced], [scaler] = (
            of_kind(kind) for kind in ["PodDisruptionBudget", "Service", "HorizontalPodAutoscaler"]
        )
        self.assertEqual(budget["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual(balanced["spec"]["selector"], labels)
        self.assertEqual(scaler["spec"]["scaleTargetRef"]["name"], deployment()["metadata"]["name"])
        self.assertEqual(scaler["spec"]["minReplicas"], deployment()["spec"]["replicas"])
        [spread] = pod(deployment())["topologySpreadConstraints"]
        self.assertEqual(spread["labelSelector"]["matchLabels"], labels)
        for policy in of_kind("NetworkPolicy"):
            self.assertTrue(is_selected(policy["spec"]["podSelector"]["matchLabels"]))
        # A policy that selects no pod of the migration would leave it open.
        [job] = of_kind("Job")
        job_labels = job["spec"]["template"]["metadata"]["labels"].items()
        everything = named("NetworkPolicy", "identity")["spec"]["podSelector"]["matchLabels"]
        self.assertTrue(everything.items() <= job_labels)
        self.assertFalse(labels.items() <= job_labels, "the Service would send calls to the migration")

    def test_pods_meet_the_restricted_standard_and_have_no_token(self):
        for workload in workloads():
            spec = pod(workload)
            self.assertIs(spec["automountServiceAccountToken"], False)
            self.assertIs(spec["enableServiceLinks"], False)
            account = named("ServiceAccount", spec["serviceAccountName"])
            self.assertIs(account["automountServiceAccountToken"], False)
            context = spec["securityContext"]
            self.assertIs(context["runAsNonRoot"], True)
            self.assertGreaterEqual(context["runAsUser"], UNPRIVILEGED)
            self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
            # No host path, no host network: only Secrets are mounted.
            self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & spec.keys())
            self.assertTrue(all("secret" in volume for volume in spec["volumes"]))
            for container in containers(workload):
                expected = {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
                self.assertEqual(container["securityContext"], expected)
                self.assertIn("memory", container["resources"]["limits"])
                self.assertEqual(container["resources"]["requests"].keys(), {"cpu", "memory"})


class Settings(unittest.TestCase):
    def test_each_variable_is_a_setting_of_the_service(self):
        known = service.settings()
        self.assertIn("GRPC_ADDR", known)
        for workload in workloads():
            for container in containers(workload):
                self.assertEqual(environment(container).keys() - known, set())

    def test_each_file_of_a_setting_is_in_a_mounted_secret(self):
        for workload in workloads():
            for container in containers(workload):
                values = environment(container).values()
                named_files = {value for value in values if value.startswith("/")}
                self.assertEqual(named_files, files(workload, container))

    def test_ports_are_those_of_the_settings(self):
        ports = {entry["name"]: entry["containerPort"] for entry in server()["ports"]}
        settings = environment(server())
        expected = {name: service.port(settings[f"{name.upper()}_ADDR"]) for name in ["grpc", "http", "metrics"]}
        self.assertEqual(ports, expected)
        [balanced] = of_kind("Service")
        for entry in balanced["spec"]["ports"]:
            self.assertEqual((entry["name"], entry["port"]), (entry["targetPort"], ports[entry["targetPort"]]))
        rules = named("NetworkPolicy", "identity-server")["spec"]["ingress"]
        opened = {entry["port"] for rule in rules for entry in rule["ports"]}
        self.assertEqual(opened, ports.keys())

    def test_a_pod_has_time_to_drain(self):
        settings = environment(server())
        needed = service.seconds(settings["DRAIN_DELAY"]) + service.seconds(settings["DRAIN_TIMEOUT"]) + 5
        self.assertGreaterEqual(pod(deployment())["terminationGracePeriodSeconds"], needed)
        probe = server()["readinessProbe"]
        noticed = probe["periodSeconds"] * probe["failureThreshold"]
        self.assertLessEqual(noticed, service.seconds(settings["DRAIN_DELAY"]))


class Running(unittest.TestCase):
    """The service with the settings of the pods, on SQLite."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = service.Files(folder.name)

    def test_the_migration_and_the_service_run_and_each_probe_is_answered(self):
        [job] = of_kind("Job")
        [migration] = containers(job)
        migrated = service.run(self.files.replace(environment(migration)), *migration["args"])
        self.assertEqual(migrated.returncode, 0, migrated.stderr)
        self.assertEqual(server()["args"], ["serve"])
        with service.Service(self.files.replace(environment(server()))) as running:
            [serving] = [line for line in running.lines() if line["message"] == "serving"]
            self.assertIs(serving["tls"], True)
            for name in ["startupProbe", "livenessProbe", "readinessProbe"]:
                with self.subTest(probe=name):
                    probe = server()[name]["httpGet"]
                    self.assertNotIn("scheme", probe)
                    url = f"http://127.0.0.1:{running.port(probe['port'])}{probe['path']}"
                    with urllib.request.urlopen(url, timeout=10) as answer:
                        self.assertEqual(answer.status, 200)
        self.assertEqual(running.status, 0)

    def test_the_service_starts_with_no_placeholder(self):
        good = self.files.replace(environment(server())) | service.OVERRIDES
        for name in ["TLS_CERT", "TLS_KEY", "TOKENS_FILE"]:
            placeholder = self.files.folder / "placeholder"
            placeholder.write_text("REPLACE_ME", encoding="utf-8")
            refused = service.run(good | {name: str(placeholder)}, "serve")
            self.assertIn(refused.returncode, [2, 3], name)
            self.assertIn(name, refused.stderr)


if __name__ == "__main__":
    unittest.main()
