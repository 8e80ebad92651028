"""What an RO-Crate says of one thing: a file, a package, a container image, a source, a quantity, a parameter.

`crate` joins them to the description of a run. The terms are those of RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and
of Workflow Run RO-Crate (https://w3id.org/ro/terms/workflow-run).
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from reinforce_lite.config import Settings

REPOSITORY = "https://github.com/reinforce-lite/reinforce-lite"
HUB = "https://huggingface.co"
QUDT = "https://qudt.org/vocab/unit"
TERMS = "https://w3id.org/ro/terms/workflow-run"

Reference = dict[str, str]

_FORMATS = {
    ".html": "text/html", ".json": "application/json", ".jsonl": "application/jsonl", ".md": "text/markdown",
    ".rst": "text/x-rst", ".svg": "image/svg+xml", **dict.fromkeys((".jinja", ".smk", ".txt", ""), "text/plain"),
}  # fmt: skip
_TYPES = {bool: "Boolean", int: "Integer", float: "Float"}


class Graph:
    """The entities of a crate, each once, in the order in which they were first added."""

    def __init__(self) -> None:
        self._entities: dict[str, dict[str, Any]] = {}

    def add(self, identifier: str, kind: str | list[str], /, **properties: Any) -> Reference:
        """Describe an entity, or more of one that is there, and return a reference to it.

        What is empty is left out, and a list of one value is that value: to JSON-LD they are the same.
        """
        given = {key: value for key, value in properties.items() if value not in (None, "", [])}
        given = {key: v[0] if isinstance(v, list) and len(v) == 1 else v for key, v in given.items()}
        self._entities.setdefault(identifier, {"@id": identifier}).update({"@type": kind, **given})
        return {"@id": identifier}

    def entities(self) -> list[dict[str, Any]]:
        """All of them, as `@graph` takes them."""
        return list(self._entities.values())


def identifier(name: str) -> str:
    """The `@id` of a file or a folder of the crate: its path there as part of a URI."""
    return quote(name)


def add_file(graph: Graph, folder: Path, name: str, sum_of: Callable[[Path], str], **properties: Any) -> Reference:
    """A file of the crate, with its size in bytes and its SHA-256."""
    path = folder / name
    return graph.add(
        identifier(name),
        "File",
        **{"name": name, **properties},
        contentSize=str(path.stat().st_size),
        sha256=sum_of(path),
        encodingFormat=_FORMATS.get(PurePosixPath(name).suffix, "application/octet-stream"),
    )


def add_package(graph: Graph, name: str, version: str) -> Reference:
    """A Python package at a version, as the index has it; it knows no builds (`2.13.0+cpu`)."""
    url = f"https://pypi.org/project/{name}/{version.partition('+')[0]}/"
    return graph.add(url, "SoftwareApplication", name=name, softwareVersion=version, url=url)


def add_hub_source(graph: Graph, repo: str, revision: str, *, dataset: bool = False) -> Reference:
    """A model or a dataset on the hub, at a revision."""
    url = f"{HUB}/{'datasets/' if dataset else ''}{repo}/tree/{revision}"
    return graph.add(url, "CreativeWork", name=repo, version=revision, url=url)


def add_image(graph: Graph, image: str) -> Reference:
    """A container image, from what a result says of it (see `io.provenance.image`).

    The digest of a registry is the image's `sha256`. The sum of the files in it, which an image knows of itself, is
    another number, and stands apart.
    """
    name, _, contents = image.partition(" contents sha256:")
    address, _, digest = name.removeprefix("docker://").partition("@sha256:")
    here = f"#image/{quote(image, safe='')}"
    entity: dict[str, Any] = {"name": address, "sha256": digest}
    if name.endswith((".sif", ".tar")):
        entity["name"] = PurePosixPath(name).name
    else:
        place, slash, last = address.rpartition("/")
        last, _, entity["tag"] = last.partition(":")
        entity["name"] = f"{place}{slash}{last}"
        first, _, rest = entity["name"].partition("/")
        if rest and (first == "localhost" or "." in first or ":" in first):
            entity |= {"registry": first, "name": rest}
        elif name.startswith("docker://"):
            entity["registry"] = "docker.io"
    if contents:
        entity["identifier"] = graph.add(
            f"{here}/contents",
            "PropertyValue",
            name="SHA-256 over the files under /opt in the image",
            propertyID=f"{REPOSITORY}#contents",
            value=contents,
        )
    kind = {"@id": f"{TERMS}#{'SIFImage' if name.endswith('.sif') else 'DockerImage'}"}
    return graph.add(here, "ContainerImage", additionalType=kind, **entity)


def add_quantity(graph: Graph, owner: str, name: str, value: float, unit: str | None = None, **more: Any) -> Reference:
    """Something that was counted or measured, and belongs to `owner`; `unit` is the name of a unit of QUDT."""
    return graph.add(
        f"{owner}/{quote(name)}",
        "PropertyValue",
        name=name,
        propertyID=f"{REPOSITORY}#{quote(name.replace(' ', '-'))}",
        value=value,
        unitCode=unit and f"{QUDT}/{unit}",
        **more,
    )


def add_usd(graph: Graph, owner: str, value: float, **more: Any) -> Reference:
    """What `owner` cost, in US dollars."""
    return add_quantity(graph, owner, "cost", value, "CCY_USD", unitText="US dollars", **more)


def add_parameters(graph: Graph, settings: Settings) -> tuple[list[Reference], list[Reference]]:
    """The keys of the configuration that say what is run, as parameters of the workflow and as the values of this run.

    Catalogues are cut to what is used, and what only says where things are put is left out.

    Returns:
        The parameters (FormalParameter), and the values (PropertyValue), in the same order.
    """
    chosen = {
        "policies": {name: settings.policies[name] for name in settings.models},
        "training_variants": {name: settings.training_variants[name] for name in settings.variants},
    }
    slots, values = [], []
    for name, value, meaning in _leaves(settings.model_copy(update=chosen)):
        if name.partition(".")[0] in ("description", "results", "tracking", "container"):
            continue
        kind = _TYPES.get(type(value[0] if isinstance(value, list) else value), "Text")
        slot = graph.add(f"#parameter/{name}", "FormalParameter", name=name, additionalType=kind, description=meaning)
        slots.append(slot)
        values.append(graph.add(f"#value/{name}", "PropertyValue", name=name, value=value, exampleOfWork=slot))
    return slots, values


def _leaves(part: BaseModel | Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, str | None]]:
    """(dotted key, value, what the key means) of everything that is set; dates and paths as text."""
    fields = type(part).model_fields if isinstance(part, BaseModel) else {}
    for key, value in dict(part).items():
        if isinstance(value, BaseModel | Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif value is not None and value != []:
            plain = value if isinstance(value, str | int | float | list) else str(value)
            yield f"{prefix}{key}", plain, fields[key].description if key in fields else None
