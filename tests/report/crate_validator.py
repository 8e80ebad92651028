"""Validate a crate with the official validator, without the network: python crate_validator.py FOLDER LEVEL.

It runs in an environment of its own (envs/crate.txt): the validator wants an older version of a package that the
project uses. The JSON-LD contexts that a crate names are put into the validator's cache: RO-Crate's own as the package
rocrate carries it, and the few terms of Workflow Run RO-Crate that a crate of ours may use.
"""

import io
import json
import sys
import tempfile
from importlib import resources
from pathlib import Path

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from rocrate_validator.models import ValidationSettings
from rocrate_validator.services import validate
from urllib3 import HTTPResponse

TERMS = "https://w3id.org/ro/terms/workflow-run"
USED = ("ContainerImage", "DockerImage", "SIFImage", "containerImage", "registry", "tag", "sha256", "resourceUsage")
PROFILE = "provenance-run-crate"


class Contexts(HTTPAdapter):
    """Answers a request for a context as the web would."""

    def send(self, request: PreparedRequest, *_: object, **__: object) -> Response:
        url = str(request.url)
        if url == "https://w3id.org/ro/crate/1.1/context":
            text = resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_text("utf8")
            assert json.loads(text)["@id"] == url, "another version of rocrate carries another context"
        else:
            assert url == f"{TERMS}/context", url
            text = json.dumps({"@context": {term: f"{TERMS}#{term}" for term in USED}})
        return self.build_response(
            request,
            HTTPResponse(
                io.BytesIO(text.encode()), {"Content-Type": "application/ld+json"}, 200,
                preload_content=False, request_url=url,
            ),
        )  # fmt: skip


def main(folder: str, level: str) -> int:
    """Print the issues, one a line; 1 if there are any."""
    with tempfile.TemporaryDirectory() as place:
        cache = Path(place) / "http"
        with CachedSession(cache, backend="sqlite") as session:
            session.mount("https://w3id.org/", Contexts())
            for url in json.loads((Path(folder) / "ro-crate-metadata.json").read_text())["@context"]:
                session.get(url).raise_for_status()
        settings = ValidationSettings(
            rocrate_uri=folder, profile_identifier=PROFILE, requirement_severity=level, offline=True, cache_path=cache
        )
        result = validate(settings)
    for issue in result.get_issues():
        print(f"{issue.severity.name} {issue.violatingEntity}: {' '.join((issue.message or '').split())}")
    return 0 if result.passed() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
