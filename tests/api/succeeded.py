"""Reads a report of schemathesis: each operation of docs/openapi.yaml must have succeeded once."""

import json
import sys
from pathlib import Path

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def operations():
    """Returns the operations of the description, as schemathesis names them. No parser of YAML is needed for that."""
    found, path = set(), None
    text = (Path(__file__).resolve().parents[2] / "docs/openapi.yaml").read_text(encoding="utf-8")
    for line in text.split("\npaths:\n", 1)[1].splitlines():
        if line and not line.startswith(" "):
            break
        if line.startswith("  /"):
            path = line.strip().removesuffix(":")
        elif line.startswith("    ") and line.strip().removesuffix(":") in METHODS and not line.startswith("     "):
            found.add(f"{line.strip().removesuffix(':').upper()} {path}")
    return found


def succeeded(report):
    """Returns those with an answer 2xx."""
    found = set()
    for line in report.read_text(encoding="utf-8").splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for name, interaction in recorder.get("interactions", {}).items():
            case = recorder["cases"][name]["value"]
            if 200 <= ((interaction.get("response") or {}).get("status_code") or 0) < 300:
                found.add(f"{case['method'].upper()} {case['path']}")
    return found


expected, found = operations(), succeeded(Path(sys.argv[1]))
if len(expected) < 5 or expected - found:
    sys.exit(f"fuzz-http: these never succeeded: {sorted(expected - found)}, of {len(expected)}")
