"""The tables of docs/configuration.md, made from the settings' own models.

`python -m tests.support.reference` writes them into the page; a test holds that they are right.
"""

import re
from pathlib import Path
from typing import Any

from autogate.settings import Repository, SiteFile, json_schema

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

_MARKS = re.compile(r"(<!-- (site|repository) -->\n).*?(<!-- end -->)", re.DOTALL)


def page_with_tables(page: str) -> str:
    """Return ``page`` with what stands between its marks made anew."""
    models: dict[str, type[SiteFile | Repository]] = {"site": SiteFile, "repository": Repository}
    return _MARKS.sub(lambda found: found[1] + _tables(json_schema(models[found[2]])) + found[3], page)


def _tables(schema: dict[str, Any]) -> str:
    own = {key: value for key, value in schema["properties"].items() if not _table(value)}
    inner = {key: value for key, value in schema["properties"].items() if _table(value)}
    text = _rows(own, schema.get("required", [])) if own else ""
    for key, value in inner.items():
        definition = schema["$defs"][_table(value)]
        heading = f"[[{key}]]" if value.get("type") == "array" else f"[{key}]"
        text += f"\n### `{heading}`\n\n{definition['description']}\n"
        text += _rows(definition["properties"], definition.get("required", []))
    return text


def _table(value: dict[str, Any]) -> str:
    for part in (value, value.get("items", {}), *value.get("anyOf", [])):
        if "$ref" in part:
            return str(part["$ref"].rpartition("/")[2])
    return ""


def _rows(properties: dict[str, Any], required: list[str]) -> str:
    text = "\n| key | type | default | meaning |\n|---|---|---|---|\n"
    for key, value in properties.items():
        default = "required" if key in required else _default(value.get("default"))
        text += f"| `{key}` | {_type(value)} | {default} | {value.get('description', '')} |\n"
    return text


def _default(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'`"{value}"`'
        case [] | {}:
            return "empty"
        case list():
            return f"`{value}`".replace("'", '"')
        case _:
            return f"`{value}`"


def _type(value: dict[str, Any]) -> str:
    if "enum" in value:
        return " or ".join(f'`"{choice}"`' for choice in value["enum"])
    if "anyOf" in value:
        return " or ".join(_type(part) for part in value["anyOf"] if part.get("type") != "null")
    if "$ref" in value:
        return "table"
    names = {"array": "list", "object": "table", "number": "number", "integer": "integer", "boolean": "true or false"}
    name = names.get(value["type"], "string")
    low, high = value.get("minimum"), value.get("maximum")
    return f"{name}, {low} to {high}" if low is not None and high is not None else name


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text()))
