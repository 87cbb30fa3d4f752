# SPDX-License-Identifier: Apache-2.0
"""docs/use/openapi.yaml as tests use it.

    check(path, status, body)    # AssertionError where an answer of the API is not as the document says
    validate()                   # the whole document, by a validator from PyPI
"""
import functools
import os
import re
import subprocess
import sys
from urllib.parse import urlsplit

import jsonschema
import yaml

from support.proc import REPO

FILE = REPO / "docs/use/openapi.yaml"
VALIDATOR = "openapi-spec-validator==0.5.7"
DOCUMENT = yaml.safe_load(FILE.read_text(encoding="utf-8"))


def _operations():
    for template, item in DOCUMENT["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        yield re.compile(pattern + r"\Z"), template, item["get"]


OPERATIONS = list(_operations())


def operation(path):
    """(template, operation) of a request's path; (None, None) where the document has none."""
    return next(((t, o) for pattern, t, o in OPERATIONS if pattern.match(urlsplit(path).path)), (None, None))


@functools.cache
def _validator(pointer):
    resolver = jsonschema.RefResolver(FILE.as_uri(), DOCUMENT)
    return jsonschema.Draft202012Validator({"$ref": f"{FILE.as_uri()}#{pointer}"}, resolver=resolver)


def _escaped(name):
    return name.replace("~", "~0").replace("/", "~1")


def check(path, status, body):
    template, found = operation(path)
    pointer = "/components/schemas/Problem"
    key = str(status)
    if found and key in found["responses"]:
        kind, = found["responses"][key]["content"]
        pointer = f"/paths/{_escaped(template)}/get/responses/{key}/content/{_escaped(kind)}/schema"
    assert status >= 400 or (found and key in found["responses"]), f"GET {path}: the document has no answer {status}"
    wrong = list(_validator(pointer).iter_errors(body))
    assert not wrong, f"GET {path} answered {status}, and docs/use/openapi.yaml says otherwise: " + "; ".join(
        f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in wrong[:5])


def parameters():
    """{path: its query parameters}."""
    def resolve(p):
        return DOCUMENT["components"]["parameters"][p["$ref"].rsplit("/", 1)[1]] if "$ref" in p else p
    found = {}
    for path, item in DOCUMENT["paths"].items():
        said = [resolve(p) for p in [*item.get("parameters", ()), *item["get"].get("parameters", ())]]
        assert {p["name"] for p in said if p["in"] == "path"} == set(re.findall(r"\{(\w+)\}", path)), path
        found[path] = {p["name"] for p in said if p["in"] == "query"}
    return found


def validate():
    from support.sdk import PYTHON, _made, _run  # needs more than the documents' tests have
    name = f"{VALIDATOR.replace('==', '-')}-py{sys.version_info[1]}"
    packages = _made(name, lambda part: _run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
                                              "--target", str(part), VALIDATOR]))
    done = subprocess.run([PYTHON, "-m", "openapi_spec_validator", "--schema", "3.1.0", str(FILE)], capture_output=True, text=True, timeout=300,
                          check=False, env={**os.environ, "PYTHONPATH": str(packages)})
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
