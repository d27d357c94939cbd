"""The API's description: as OpenAPI 3.1, and as a page to read."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from jinja2 import Environment, FileSystemLoader, StrictUndefined

ABOUT = """
What the pages of `nerfscene serve` do, programs can do too. Answers are JSON; times are seconds since 1970,
sizes are bytes, and addresses are those of this server, without its name.

Send your key with each request, as `Authorization: Bearer KEY`. Pages of the server itself send their cookie
instead, and, to change something, the token of the page as `X-Token`.

A refusal is `{"detail": "one sentence"}`, with a status that says of what kind it is.

Photos, videos and zips are uploaded by tus 1.0.0 (https://tus.io/protocols/resumable-upload) to
`/api/uploads`: a POST with `Upload-Length` and `Upload-Metadata: scene BASE64,filename BASE64` answers with
the upload's address, to which PATCH sends the bytes and where HEAD says how many have come. Any tus client
works, and so does `nerfscene submit`.
"""
TAGS = {
    "scenes": "Scenes: what they are, their uploads and their folder.",
    "jobs": "Work on scenes: trainings, films, exports and pages.",
    "links": "Links by which anyone can look at a scene.",
    "people": "Who may use the server.",
    "notes": "What happened while someone was away.",
    "about": "The API itself.",
}
EXAMPLES = {  # bodies of requests
    "NewScene": {"title": "The garden"},
    "SceneChange": {"title": "The garden in May"},
    "Train": {"quality": "5min"},
    "Film": {"path": "orbit", "seconds": 8},
    "Export": {"to": "mesh", "ending": "glb"},
    "Page": {"limit": "20MB"},
    "Crop": {"size": [2, 2, 1.5], "centre": [0, 0, 0.5], "turn": 30},
    "NewLink": {"days": 7},
    "NewPerson": {"name": "Ada", "role": "guest"},
}
METHODS = ("get", "post", "put", "patch", "delete")


def schema_of(app: FastAPI) -> dict[str, Any]:
    """The description of an application's routes below /api; made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title="nerfscene", version=app.version, summary="Photos in, scenes out.", description=ABOUT,
            routes=app.routes, tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        )  # fmt: skip
        made["paths"] = {path: item for path, item in made["paths"].items() if path.startswith("/api/")}
        made.setdefault("components", {})["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "Your key."},
            "cookie": {"type": "apiKey", "in": "cookie", "name": "nerfscene", "description": "A login."},
            "token": {
                "type": "apiKey", "in": "header", "name": "X-Token",
                "description": "With the cookie, for what changes something: the token of a page.",
            },
        }  # fmt: skip
        made["security"] = [{"key": []}, {"cookie": [], "token": []}]
        for item in made["paths"].values():
            if "get" in item:
                item["get"]["security"] = [{"key": []}, {"cookie": []}]
        schemas = made["components"].get("schemas", {})
        for name, example in EXAMPLES.items():
            if name in schemas:
                schemas[name]["examples"] = [example]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = made
    return app.openapi_schema


# --- to read --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """A field of what is sent or answered."""

    name: str
    kind: str
    needed: bool
    text: str


@dataclass(frozen=True)
class Operation:
    """One request: what it takes, the type that is sent and the one answered, and refusals by status."""

    name: str
    group: str
    method: str
    path: str
    text: str
    parameters: list[Field]
    sent: str
    answered: str
    status: str
    refusals: list[tuple[str, str]]
    curl: str


def docs_page(schema: dict[str, Any], base: str) -> str:
    """The description as HTML. base: the server's address, for the examples."""
    found: dict[str, list[Operation]] = {name: [] for name in TAGS}
    for path, item in schema["paths"].items():
        for method in METHODS:
            if method in item:
                made = _operation(path, method, item[method], base)
                found.setdefault(made.group, []).append(made)
    page: str = (
        _environment()
        .get_template("api.html")
        .render(
            about=[part.replace("\n", " ") for part in ABOUT.strip().split("\n\n")],
            groups=[(name, TAGS.get(name, ""), made) for name, made in found.items() if made],
            types=_types(schema),
            base=base,
            version=schema["info"]["version"],
        )
    )
    return page


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["code"] = _with_code
    return made


def _with_code(text: str) -> list[tuple[bool, str]]:
    """A text's parts: (whether it stands in backquotes, the part)."""
    return [(i % 2 == 1, part) for i, part in enumerate(text.split("`")) if part]


def _operation(path: str, method: str, made: dict[str, Any], base: str) -> Operation:
    body = made.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    sent = _kind(body).removesuffix(" or nothing") if body else ""
    status, answer = next((s, a) for s, a in made["responses"].items() if s.startswith("2"))
    content = answer.get("content", {})
    answered = _kind(content["application/json"]["schema"]) if "application/json" in content else ""
    parameters = [
        Field(p["name"], _kind(p["schema"]), p.get("required", False), p.get("description", ""))
        for p in made.get("parameters", [])
    ]
    return Operation(
        name=made["operationId"],
        group=made["tags"][-1],
        method=method.upper(),
        path=path,
        text=made.get("description", made["summary"]),
        parameters=parameters,
        sent=sent,
        answered=answered or next(iter(content), "nothing"),
        status=status,
        refusals=[(s, a["description"]) for s, a in made["responses"].items() if s.startswith("4")],
        curl=_curl(path, method, sent, base, next(iter(content), "")),
    )


def _curl(path: str, method: str, sent: str, base: str, content: str) -> str:
    address = base + _upper(path)
    words = ["curl"]
    if method != "get":
        words.append(f"-X {method.upper()}")
    words.append('-H "Authorization: Bearer $NERFSCENE_KEY"')
    if sent:
        example = json.dumps(EXAMPLES.get(sent, {}))
        words.append(f"-H 'Content-Type: application/json' -d '{example}'")
    if content == "application/zip":
        words.append("-o scene.zip")
    return " ".join([*words, address])


def _upper(path: str) -> str:
    """An address with the names in braces as capitals, as in /api/scenes/SCENE."""
    return "/".join(part[1:-1].upper() if part.startswith("{") else part for part in path.split("/"))


def _types(schema: dict[str, Any]) -> list[tuple[str, str, list[Field]]]:
    """Each type's name, what it is, and its fields."""
    out = []
    for name, made in sorted(schema["components"]["schemas"].items()):
        needed = made.get("required", [])
        fields = [
            Field(key, _kind(value), key in needed, value.get("description", ""))
            for key, value in made.get("properties", {}).items()
        ]
        out.append((name, " ".join(made.get("description", "").split()), fields))
    return out


def _kind(schema: dict[str, Any]) -> str:
    """A type in words: text, number, a list of SceneFacts, …"""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        kinds = [_kind(one) for one in schema["anyOf"]]
        return " or ".join(sorted(kinds, key="nothing".__eq__))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"{len(schema['prefixItems'])} × {_kind(schema['prefixItems'][0])}"
        return f"list of {_kind(schema.get('items', {}))}"
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", "null": "nothing"}
    kind = schema.get("type", "anything")
    return words.get(kind, kind)
