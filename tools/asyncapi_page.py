"""docs/asyncapi.yaml as a page for people: what bins say and hear, every key with its meaning.

python -m tools.asyncapi_page            writes docs/asyncapi.md
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent.parent / "docs"
BOUNDS = {
    "pattern": "matches `{}`",
    "minimum": "from {}",
    "maximum": "to {}",
    "minItems": "{} or more",
    "maxItems": "at most {}",
    "maxLength": "at most {} characters",
}
WHO = {"send": "bin side", "receive": "to the bin"}
Node = dict[str, Any]


def main() -> None:
    """Write the page."""
    source = (DOCS / "asyncapi.yaml").read_text(encoding="utf-8")
    (DOCS / "asyncapi.md").write_text(page(yaml.safe_load(source)), encoding="utf-8")


def page(document: Node) -> str:
    """The whole page, as Markdown."""
    info = document["info"]
    lines = [
        f"# {info['title']}: topics and payloads",
        "<!-- Made from asyncapi.yaml by python -m tools.asyncapi_page; do not edit. -->",
        info["description"],
        "",
        "| topic | direction | what |",
        "|---|---|---|",
    ]
    directions = _directions(document)
    lines += [_topic(name, entry, directions) for name, entry in document["channels"].items()]
    told: Node = {}
    for name, entry in document["channels"].items():
        lines += _channel(name, entry, document, told)
    answer = document["components"]["messages"].get("answer")
    if answer:
        lines += ["", "## answer", "To the response topic of a command.", ""]
        lines += _schema(answer["payload"], document)
    return "\n".join(lines) + "\n"


def _directions(document: Node) -> dict[str, str]:
    """Channel -> who speaks there."""
    return {
        operation["channel"]["$ref"].rpartition("/")[2]: WHO[operation["action"]]
        for operation in document["operations"].values()
    }


def _topic(name: str, channel: Node, directions: dict[str, str]) -> str:
    address = channel["address"]
    what = _cell(channel["description"])
    return f"| [`{address}`](#{name}) | {directions.get(name, '')} | {what} |"


def _channel(name: str, channel: Node, document: Node, told: Node) -> list[str]:
    """`told` holds the parts of topics that were explained before."""
    lines = ["", f"## {name}", f"`{channel['address']}`. {channel['description']}", ""]
    for parameter, about in channel.get("parameters", {}).items():
        if told.get(parameter) == about:
            continue
        told[parameter] = about
        choices = ", ".join(f"`{value}`" for value in about.get("enum", ()))
        lines.append(f"- `{parameter}`: {about.get('description') or choices}")
    for message in channel["messages"].values():
        payload = _resolved(message, document)["payload"]
        lines += ["", *_schema(payload, document)]
    return lines


def _schema(schema: Node, document: Node) -> list[str]:
    """A payload's table, or one for each of its forms."""
    body = _resolved(schema, document)
    forms = body.get("oneOf")
    if forms:
        lines = []
        for form in forms:
            kind = _resolved(form, document)
            title = kind["properties"].get("type", {}).get("const") or form["$ref"]
            lines += [f"### type {title}", *_schema(kind, document), ""]
        return lines
    lines = [*_described(body), "| key | type | what |", "|---|---|---|"]
    return lines + _keys(body, document, prefix="")


def _described(schema: Node) -> list[str]:
    return [schema["description"], ""] if schema.get("description") else []


def _keys(schema: Node, document: Node, *, prefix: str) -> list[str]:
    needed = set(schema.get("required", ()))
    lines = []
    for name, entry in schema.get("properties", {}).items():
        about = {**_resolved(entry, document), **{k: v for k, v in entry.items() if k != "$ref"}}
        optional = "" if name in needed else " (optional)"
        what = _cell(_what(about))
        lines.append(f"| `{prefix}{name}`{optional} | {_type(about, document)} | {what} |")
        if "properties" in about:
            lines += _keys(about, document, prefix=f"{prefix}{name}.")
    return lines


def _type(schema: Node, document: Node) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    kinds = kind if isinstance(kind, list) else [kind]
    if kinds == ["array"] and "items" in schema:
        return f"array of {_type(_resolved(schema['items'], document), document)}"
    return " or ".join(kinds)


def _what(schema: Node) -> str:
    bounds = [text.format(schema[key]) for key, text in BOUNDS.items() if key in schema]
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and "properties" not in schema:
        bounds.append("a value for each name")
    parts = [schema.get("description", "").rstrip("."), "; ".join(bounds)]
    return "; ".join(part for part in parts if part)


def _resolved(node: Node, document: Node) -> Node:
    """What a $ref names; the node itself where it is none."""
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
