"""The contract as documents: JSON Schema of every event, and AsyncAPI of all topics."""

import json
from importlib.resources import files
from typing import Any

from pydantic import BaseModel

from touchline_schemas.topics import DEFAULT_PREFIX, TOPICS

Document = dict[str, Any]


def event_models() -> dict[str, type[BaseModel]]:
    """``ce_type`` → model, over all topics, in the registry's order."""
    return {name: model for topic in TOPICS for name, model in topic.events.items()}


def json_schema(model: type[BaseModel], event_type: str) -> Document:
    """The JSON Schema (2020-12) of an event's data as it is written."""
    schema = model.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{event_type}.v1", **schema}


def published_schema(event_type: str) -> Document:
    """The schema that subscribers rely on, as it was last published."""
    text = (files("touchline_schemas") / "published" / f"{event_type}.v1.json").read_text()
    loaded: Document = json.loads(text)
    return loaded


def example(event_type: str) -> Document:
    """A golden example of an event's data."""
    text = (files("touchline_schemas") / "examples" / f"{event_type}.json").read_text()
    loaded: Document = json.loads(text)
    return loaded


def asyncapi() -> Document:
    """An AsyncAPI 3.0 document of all public topics."""
    channels: Document = {}
    operations: Document = {}
    messages: Document = {}
    for topic in TOPICS:
        if topic.internal:
            continue
        name = topic.full_name(DEFAULT_PREFIX)
        channels[topic.name] = {
            "address": name,
            "description": f"{topic.about} Key: {topic.key}. Kept: {topic.kept}.",
            "messages": {event: {"$ref": f"#/components/messages/{event}"} for event in topic.events},
        }
        operations[f"read-{topic.name}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{topic.name}"},
            "summary": f"Written by {', '.join(topic.writers)}; read by {', '.join(topic.readers)}.",
        }
        for event, model in topic.events.items():
            schema = model.model_json_schema(
                mode="serialization", ref_template=f"#/components/schemas/{event}.{{model}}"
            )
            definitions = schema.pop("$defs", {})
            messages[event] = {
                "name": event,
                "title": (model.__doc__ or "").split("\n", 1)[0],
                "contentType": "application/json",
                "headers": {"$ref": "#/components/schemas/cloudevents-headers"},
                "payload": schema,
                "examples": [{"payload": example(event)}],
            }
            for inner, definition in definitions.items():
                messages.setdefault("__definitions__", {})[f"{event}.{inner}"] = definition
    definitions = messages.pop("__definitions__", {})
    headers = {
        "type": "object",
        "description": "CloudEvents 1.0, Kafka binding, binary mode",
        "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "content-type"],
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": {"type": "string", "description": "deduplicate on it"},
            "ce_type": {"type": "string"},
            "ce_source": {"type": "string", "format": "uri-reference"},
            "ce_time": {"type": "string", "format": "date-time"},
            "ce_subject": {"type": "string", "description": "the customer id"},
            "content-type": {"const": "application/json"},
        },
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Touchline",
            "version": "1",
            "description": "Read with isolation.level=read_committed: the stage engine publishes in transactions.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": {"cloudevents-headers": headers, **definitions}},
    }
