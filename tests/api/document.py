"""docs/openapi.yaml and /openapi.json: what tools of others read in them."""

import json
import unittest
from urllib.request import Request, urlopen

import yaml
from openapi_spec_validator import validate
from service import ROOT, Service

FIELDS = {
    "primaryContactId": ["primaryContactId"],
    "primaryContatctId": ["primaryContatctId"],
    "both": ["primaryContactId", "primaryContatctId"],
}


def source():
    """Returns the document as a reader of YAML 1.1 sees it, for whom a bare `Yes` or `on` is true."""
    return yaml.safe_load((ROOT / "docs/openapi.yaml").read_text(encoding="utf-8"))


class Document(unittest.TestCase):
    def test_the_validator_accepts_the_source(self):
        validate(source())

    def test_the_service_has_it_as_json_in_each_spelling(self):
        for setting, fields in FIELDS.items():
            with self.subTest(setting), Service({"PRIMARY_ID_FIELD": setting}) as service:
                status, headers, body = service.get("/openapi.json")
                self.assertEqual((status, headers["content-type"]), (200, "application/json"))
                document = json.loads(body)
                validate(document)
                expected = source()
                contact = expected["components"]["schemas"]["Contact"]
                primary = contact["properties"].pop("primaryContactId")
                contact["properties"] |= {name: primary for name in fields}
                contact["required"] = fields + contact["required"][1:]
                self.assertEqual(document, expected)
                # An answer has the fields that the document says.
                answered = self.call(service)
                self.assertEqual(set(answered), set(document["components"]["schemas"]["Contact"]["required"]))

    def test_the_paths_stand_in_the_order_of_the_source(self):
        with Service() as service:
            document = json.loads(service.get("/openapi.json")[2])
        self.assertEqual(list(document["paths"]), list(source()["paths"]))
        self.assertEqual(list(document["paths"])[0], "/identify")

    def call(self, service):
        request = Request(service.origin() + "/identify", data=b'{"email": "doc@hillvalley.edu"}', method="POST")
        request.add_header("content-type", "application/json")
        with urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())["contact"]


if __name__ == "__main__":
    unittest.main()
