"""The page of what bins say is made from the document that their messages are tested against."""

from __future__ import annotations

from typing import Any

import yaml

from tools.asyncapi_page import DOCS, page

DOCUMENT = yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))


def test_the_page_is_up_to_date() -> None:
    """docs/asyncapi.md is what python -m tools.asyncapi_page writes."""
    written = (DOCS / "asyncapi.md").read_text(encoding="utf-8")
    assert written == page(DOCUMENT), "run: python -m tools.asyncapi_page"


def test_every_channel_and_every_key_is_on_the_page() -> None:
    """No topic and no key of a payload is left out."""
    text = page(DOCUMENT)
    for channel in DOCUMENT["channels"].values():
        assert f"`{channel['address']}`" in text
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for key in schema.get("properties", {}):
            assert f"{key}`" in text, f"{name}.{key}"


def test_no_description_was_cut_at_a_comma() -> None:
    """In YAML's braces a comma ends an unquoted text: what follows would be a key without value."""

    def look(node: Any, where: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                assert value is not None, f"{where}: {key}"
                look(value, f"{where}/{key}")
        elif isinstance(node, list):
            for at, entry in enumerate(node):
                look(entry, f"{where}/{at}")

    look(DOCUMENT, "")
