"""Whether subscribers of the published contract understand what a changed model writes.

Within a version fields are only added, and optional. The comparison is deliberately strict: what it can't prove
compatible it reports.
"""

from typing import Any

Schema = dict[str, Any]


def incompatibilities(published: Schema, current: Schema) -> list[str]:
    """What a subscriber who relies on ``published`` would trip over in ``current``; empty when nothing.

    Both are JSON Schemas of objects as pydantic writes them (with ``$defs``).
    """
    return _compare(published, current, published, current, "$")


def _compare(old: Schema, new: Schema, old_root: Schema, new_root: Schema, where: str) -> list[str]:
    old, new = _resolve(old, old_root), _resolve(new, new_root)
    found: list[str] = []
    if "properties" in old:
        old_fields, new_fields = old["properties"], new.get("properties", {})
        for name, field in old_fields.items():
            if name not in new_fields:
                found.append(f"{where}.{name} was removed")
            else:
                found += _compare(field, new_fields[name], old_root, new_root, f"{where}.{name}")
        for name in set(old.get("required", ())) - set(new.get("required", ())):
            if name in new_fields:
                found.append(f"{where}.{name} was always there and now may be missing")
        return found
    old_types, new_types = _types(old, old_root), _types(new, new_root)
    if not new_types <= old_types:
        found.append(f"{where} may now be {', '.join(sorted(new_types - old_types))}")
    return found


def _resolve(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _types(schema: Schema, root: Schema) -> set[str]:
    """What values a leaf may take, as comparable words: enum members, else types with their format."""
    schema = _resolve(schema, root)
    if "anyOf" in schema:
        return set().union(*(_types(option, root) for option in schema["anyOf"]))
    if "enum" in schema:
        return {repr(value) for value in schema["enum"]}
    if "const" in schema:
        return {repr(schema["const"])}
    kind = schema.get("type", "anything")
    if kind == "array":
        return {f"array of {word}" for word in _types(schema.get("items", {}), root)}
    return {f"{kind} ({schema['format']})" if "format" in schema else str(kind)}
