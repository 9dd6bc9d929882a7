"""Dockerfile: the image is built by buildah and run.

No registry is asked: root file systems that debootstrap makes once stand for the two base images. That of the build has
a `cargo` that checks what it is asked for and hands over the binary that is being tested, because to compile it once
more would take minutes. All else of the Dockerfile is carried out as it stands. A container runs in a network of its
own, so it has the ports of the image. The first run, and the first after a change of Debian, asks a mirror of Debian.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import service
from service import ROOT

FOLDER = ROOT / "target/tools/deploy/images"
TESTED = "localhost/identity-tested:"  # and the id of a process
BASE = "localhost/identity-base-"  # and the purpose, and what it was made of
USER = 65532
PROGRAM = "/usr/local/bin/identity"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DATABASE = "sqlite:///data/identity.db?mode=rwc"
GRACE = 20  # seconds: stop_grace_period of compose.yaml

# What the build stage runs in place of cargo
CARGO = """#!/bin/sh
set -eu
test "$*" = "build --release --locked --bin identity"
test -f Cargo.toml -a -f Cargo.lock -a -f build.rs -a -f src/main.rs -a -f migration/Cargo.toml -a -f docs/openapi.yaml
test -d /usr/local/cargo/registry -a -d target
mkdir -p target/release
cp /tested/identity target/release/identity
"""


def load_tests(_, tests, __):
    """scripts/check-deploy says if a tool is missing, and fails in the end."""
    return tests if os.environ.get("IDENTITY_HAS_IMAGE_TOOLS") else unittest.TestSuite()


def run(*command, timeout=600, **options):
    """Runs a program to its end and returns what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()


def buildah_command(*arguments):
    storage = ["--root", f"{FOLDER}/storage", "--runroot", f"{FOLDER}/run", "--storage-driver", "vfs"]
    return ["buildah", *storage, *arguments]


def buildah(*arguments, **options):
    return run(*buildah_command(*arguments), **options)


def has_image(name):
    return subprocess.run(buildah_command("inspect", "--type", "image", name), capture_output=True).returncode == 0


def remove_images(prefix, kept=None):
    """Removes the images whose names begin so."""
    images = json.loads(buildah("images", "--json") or "null") or []
    for name in [name for image in images for name in image.get("names") or []]:
        if name.startswith(prefix) and name != kept:
            buildah("rmi", name)


def mirror(release):
    """Returns the mirror of Debian that apt of this machine asks for this release, if it has one."""
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    found = [line.split()[0] for line in targets.splitlines() if line.split()[1:] == [release, "main"]]
    return found[:1]


def base_image(purpose, packages, prepare):
    """Returns the name of an image of this machine's Debian: the tested binary was linked on it."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    parts = [release, Path("/etc/debian_version").read_text(encoding="utf-8"), packages, CARGO]
    base = f"{BASE}{purpose}:{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"
    if not has_image(base):
        make_base_image(base, release, packages, prepare)
    remove_images(f"{BASE}{purpose}:", kept=base)
    return base


def make_base_image(base, release, packages, prepare):
    container = buildah("from", "scratch")
    try:
        root = Path(buildah("mount", container))
        included = [f"--include={packages}"] if packages else []
        checked = ["--force-check-gpg", f"--keyring={os.environ['IDENTITY_DEBIAN_KEYRING']}"]
        run("debootstrap", "--variant=minbase", *checked, *included, release, str(root), *mirror(release))
        for useless in ["var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"]:
            run("find", str(root / useless), "-mindepth", "1", "-delete")
        prepare(root)
        buildah("config", "--env", f"PATH=/usr/local/cargo/bin:{PATH}" if packages else f"PATH={PATH}", container)
        buildah("commit", "--quiet", container, base)
    finally:
        buildah("rm", container)


def add_cargo(root):
    program = root / "usr/local/cargo/bin/cargo"
    program.parent.mkdir(parents=True)
    program.write_text(CARGO, encoding="utf-8")
    program.chmod(0o755)


def names_of_base_images():
    """Returns the names that the Dockerfile has for its base images: of the build, and of the result."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [line.split()[1] for line in lines if line.startswith("FROM ")]


def has_symbols(path):
    """Says whether an ELF file has a symbol table."""
    content = path.read_bytes()
    assert content[:5] == b"\x7fELF\x02", "an ELF file of 64 bits"
    [table], (size, count) = struct.unpack_from("<Q", content, 0x28), struct.unpack_from("<HH", content, 0x3A)
    types = [struct.unpack_from("<I", content, table + size * index + 4)[0] for index in range(count)]
    assert types, "section headers"
    return 2 in types  # SHT_SYMTAB


class Container:
    """`identity` in a container of buildah, until the end of a `with` block."""

    def __init__(self, image, environment, volumes=(), arguments=None):
        configuration = image_configuration(image)
        self.name = buildah("from", "--pull-never", image)
        options = [option for name, value in environment.items() for option in ["--env", f"{name}={value}"]]
        options += [option for volume in volumes for option in ["--volume", volume]]
        self.command = buildah_command("run", "--isolation", "chroot", *options, self.name, "--")
        self.arguments = configuration["Entrypoint"] + (arguments or configuration["Cmd"])

    def __enter__(self):
        self.log = tempfile.TemporaryFile(mode="w+", encoding="utf-8")
        network = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        command = [*network, *self.command, *self.arguments]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)
        return self

    def __exit__(self, *_):
        try:
            self.kill()
        finally:
            self.log.close()
            buildah("rm", self.name)

    def kill(self):
        """Ends what still runs: the service, after which buildah tidies up, or all of it."""
        if (pid := self.pid()) is not None:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.kill(pid, signal.SIGKILL)
                self.process.wait(timeout=GRACE)
        if self.process.poll() is None:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=GRACE)

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def processes(self):
        """Returns the processes in the network of the container, with the paths of their programs."""
        found = {}
        with contextlib.suppress(OSError):  # It has ended.
            network = os.readlink(f"/proc/{self.process.pid}/ns/net")
            if network == os.readlink("/proc/self/ns/net"):
                return {}  # It has no network of its own yet.
            for entry in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):  # It has ended, or is a part of the kernel.
                    if os.readlink(entry / "ns/net") == network:
                        found[int(entry.name)] = os.readlink(entry / "exe")
        return found

    def pid(self):
        """Returns the process of the service, if it runs."""
        return next((pid for pid, program in self.processes().items() if program.endswith(PROGRAM)), None)

    def serving(self):
        """Waits until the service listens, and returns its process."""
        end = time.monotonic() + 60
        while '"serving"' not in self.text():
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"the service does not serve: {self.text()}")
            time.sleep(0.1)
        pid = self.pid()
        assert pid is not None
        return pid

    def inside(self, *command):
        """Runs a program of this machine in the network of the container."""
        network = f"--net=/proc/{self.process.pid}/ns/net"
        return subprocess.run(["nsenter", network, *command], capture_output=True, text=True, timeout=60)

    def identify(self, token=None):
        """Posts a request, and returns the status and the outcome."""
        program = (
            "import sys, urllib.error, urllib.request\n"
            "headers = {'content-type': 'application/json'}\n"
            "headers |= {'authorization': 'Bearer ' + token for token in sys.argv[1:]}\n"
            "url, body = 'http://127.0.0.1:3000/identify', b'{\"email\": \"a@b.example\"}'\n"
            "try:\n"
            "    answer = urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10)\n"
            "    print(answer.status, answer.headers['identity-outcome'])\n"
            "except urllib.error.HTTPError as error:\n"
            "    print(error.code)\n"
        )
        done = self.inside(sys.executable, "-c", program, *([token] if token else []))
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def health(self):
        """Runs the health check of the image in this container, and returns its exit status."""
        [kind, *check] = image_configuration(self.name, "container")["Healthcheck"]["Test"]
        assert kind == "CMD", kind
        return self.inside(*self.command, *check).returncode

    def stop(self):
        """Stops it as a container engine does, and returns the exit status."""
        os.kill(self.serving(), signal.SIGTERM)
        return self.process.wait(timeout=GRACE)


def image_configuration(name, kind="image"):
    """Returns the part of the configuration that has the entry point, the user and the health check."""
    return json.loads(buildah("inspect", "--type", kind, name))["Docker"]["config"]


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        FOLDER.mkdir(parents=True, exist_ok=True)
        cls.lock = open(FOLDER / "lock", "w", encoding="utf-8")
        cls.addClassCleanup(cls.lock.close)
        fcntl.flock(cls.lock, fcntl.LOCK_EX)  # One run at a time
        # What a run that was killed has left
        buildah("rm", "--all")
        remove_images(TESTED)
        bases = [base_image("build", "binutils", add_cargo), base_image("result", "", lambda root: None)]
        buildah("rmi", "--prune")
        cls.image = f"{TESTED}{os.getpid()}"
        cls.build_image(bases)
        cls.addClassCleanup(buildah, "rmi", cls.image)

    @classmethod
    def build_image(cls, bases):
        """Builds it with caches of its own: those of buildah are for all builds of a user."""
        folder = FOLDER / "build"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "caches").mkdir(parents=True)
        try:
            shutil.copy(service.BINARY, folder / "identity")
            pairs = zip(names_of_base_images(), bases, strict=True)
            replaced = [f"--build-context={name}=container-image://{base}" for name, base in pairs]
            buildah(
                *["build", "--isolation", "chroot", "--pull-never", "--format", "docker", "--quiet"],
                *["--volume", f"{folder}:/tested:ro", "--tag", cls.image, *replaced, str(ROOT)],
                timeout=1200,
                env=os.environ | {"TMPDIR": str(folder / "caches")},
            )
            caches = folder / "caches" / "buildah-cache"
            assert list(caches.rglob("release/identity")), "the build has its caches here"
        finally:
            shutil.rmtree(folder)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.data.mkdir()
        os.chown(self.data, USER, USER)

    def container(self, environment, volumes=(), arguments=None):
        return Container(self.image, environment, [f"{self.data}:/data", *volumes], arguments)

    def root(self):
        """Returns the root file system of a container of the image."""
        container = buildah("from", "--pull-never", self.image)
        self.addCleanup(buildah, "rm", container)
        return Path(buildah("mount", container))

    def test_the_image_has_a_stripped_binary_and_nothing_of_the_build(self):
        root = self.root()
        program = root / PROGRAM[1:]
        self.assertFalse(has_symbols(program))
        self.assertTrue(has_symbols(Path(service.BINARY)), "the check sees symbols")
        status = program.stat()
        self.assertEqual((status.st_uid, status.st_mode & 0o7777), (0, 0o755), "its user cannot change it")
        self.assertFalse([name for name in ["src", "identity", "tested"] if (root / name).exists()])
        self.assertFalse((root / "usr/local/cargo").exists())

    def test_without_callers_it_refuses_to_start(self):
        with self.container({"DATABASE_URL": DATABASE}) as container:
            self.assertEqual(container.process.wait(timeout=60), 2, container.text())
            self.assertIn("TOKENS_FILE", container.text())

    def test_it_serves_at_its_ports_as_an_unprivileged_user_and_keeps_its_data(self):
        for outcome in ["created", "matched"]:
            with self.container({"DATABASE_URL": DATABASE, "INSECURE": "true"}) as container:
                pid = container.serving()
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
                fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
                self.assertEqual(fields["Uid"].split(), [str(USER)] * 4)
                self.assertEqual(fields["Gid"].split(), [str(USER)] * 4)
                self.assertEqual(container.health(), 0)
                self.assertEqual(container.identify(), ["200", outcome])
                for port in image_configuration(self.image)["ExposedPorts"]:
                    self.assertIn(f":{port.split('/')[0]}", container.text())
                self.assertEqual(container.stop(), 0, container.text())
        self.assertEqual((self.data / "identity.db").stat().st_uid, USER)

    def test_the_health_check_fails_if_nothing_serves(self):
        check = image_configuration(self.image)["Healthcheck"]["Test"][2:]
        with self.container({}, arguments=check) as container:
            self.assertEqual(container.process.wait(timeout=60), 1, container.text())
            self.assertIn("identity: cannot reach 127.0.0.1:50051: ", container.text())

    def test_with_callers_it_serves_those_alone(self):
        callers = self.folder / "callers.toml"
        made = service.run({}, "token", "new", "checkout", "--scope", "identify", "--tokens-file", str(callers))
        callers.chmod(0o644)
        environment = {"DATABASE_URL": DATABASE, "TOKENS_FILE": "/run/callers.toml"}
        with self.container(environment, [f"{callers}:/run/callers.toml:ro"]) as container:
            container.serving()
            self.assertEqual(container.identify(), ["401"])
            self.assertEqual(container.identify(made.stdout.strip()), ["200", "created"])
            self.assertEqual(container.health(), 0)
            self.assertEqual(container.stop(), 0)

    def test_it_runs_as_process_1_on_a_read_only_root(self):
        root = self.root()
        (root / "data").mkdir()
        configuration = image_configuration(self.image)
        user, entry = configuration["User"], configuration["Entrypoint"]
        environment = [*configuration["Env"], f"DATABASE_URL={DATABASE}", "INSECURE=true"]
        # As a container engine does: read-only but for the volume, no privileges to gain, and a network of its own
        script = """set -eu
            root=$1 data=$2 user=$3; shift 3
            ip link set lo up
            mount --bind "$root" "$root"
            mount --bind "$data" "$root/data"
            mount -o remount,bind,ro "$root"
            mount -t proc proc "$root/proc"
            if touch "$root/writable" 2>/dev/null; then echo "the root is writable"; exit 9; fi
            exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
        """
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"]
        command += [str(root), str(self.data), user, "/usr/bin/env", "-i", *environment]
        with tempfile.TemporaryFile(mode="w+", encoding="utf-8") as log:
            process = subprocess.Popen([*command, *entry, *configuration["Cmd"]], stdout=log, stderr=log)
            self.addCleanup(process.wait, timeout=GRACE)
            self.addCleanup(process.kill)
            end, text = time.monotonic() + 60, ""
            while '"serving"' not in text:
                self.assertIsNone(process.poll(), text)
                self.assertLess(time.monotonic(), end, text)
                time.sleep(0.1)
                log.seek(0)
                text = log.read()
            [first] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
            status = Path(f"/proc/{first}/status").read_text(encoding="utf-8")
            self.assertRegex(status, r"(?m)^NSpid:\t\d+\t1$")
            self.assertRegex(status, r"(?m)^CapEff:\t0+$")
            os.kill(int(first), signal.SIGTERM)
            self.assertEqual(process.wait(timeout=GRACE), 0, text)
        self.assertTrue((self.data / "identity.db").exists())


if __name__ == "__main__":
    unittest.main()
