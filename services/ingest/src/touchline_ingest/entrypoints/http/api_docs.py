"""The OpenAPI description of each endpoint."""

from typing import Any

EXAMPLE_TOUCHPOINT = {
    "id": "order-5501",
    "type": "purchased",
    "customer_id": "c-17",
    "occurred_at": "2026-03-01T12:00:00Z",
    "properties": {"order_id": "5501", "amount": 49.5, "currency": "EUR"},
}
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def problem(description: str) -> dict[str, Any]:
    """A response that is a problem (RFC 9457)."""
    return {"description": description, "content": _PROBLEM}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: problem("The key is missing, wrong or revoked, or is not valid for this endpoint."),
    408: problem("The body did not arrive in time."),
    413: problem("More bytes or items than allowed; the text names the limit."),
    415: problem("A media type, character set or content encoding that is not read here."),
    422: problem("Not JSON, or no item is a touchpoint; `results` says what is wrong with each."),
    429: problem("The source's rate limit; Retry-After says when to come back."),
    503: problem("Kafka did not acknowledge in time. Send it again: `results` holds the ids to use."),
}

SCHEMAS: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
    },
    "PostedTouchpoint": {
        "type": "object",
        "required": ["type", "occurred_at"],
        "additionalProperties": False,
        "description": "At least one of customer_id, anonymous_id, email, external_id.",
        "anyOf": [{"required": [name]} for name in ("customer_id", "anonymous_id", "email", "external_id")],
        "properties": {
            "id": {"type": "string", "minLength": 1, "maxLength": 128},
            "type": {"type": "string", "maxLength": 100, "pattern": "^[A-Za-z0-9][A-Za-z0-9_.:/-]*$"},
            "channel": {"type": "string", "maxLength": 64, "pattern": "^[a-z][a-z0-9_]*$"},
            "direction": {"enum": ["inbound", "outbound"]},
            "customer_id": {"type": "string", "minLength": 1, "maxLength": 256},
            "anonymous_id": {"type": "string", "minLength": 1, "maxLength": 256},
            "email": {"type": "string", "maxLength": 254},
            "external_id": {"type": "string", "minLength": 1, "maxLength": 256},
            "occurred_at": {
                "type": "string",
                "format": "date-time",
                "description": "RFC 3339 with a zone; not before 1990, at most five minutes ahead.",
            },
            "properties": {"type": "object"},
            "machine": {"type": "boolean", "default": False},
            "backfill": {"type": "boolean", "default": False},
        },
        "example": EXAMPLE_TOUCHPOINT,
    },
    "Results": {
        "type": "object",
        "required": ["accepted", "rejected", "results"],
        "properties": {
            "accepted": {"type": "integer", "minimum": 0},
            "rejected": {"type": "integer", "minimum": 0},
            "validate_only": {"type": "boolean"},
            "warnings": {
                "type": "array",
                "description": "Types that were accepted and look like misspelt standard types.",
                "items": {
                    "type": "object",
                    "properties": {"type": {"type": "string"}, "did_you_mean": {"type": "string"}},
                },
            },
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["index", "id", "status", "error"],
                    "properties": {
                        "index": {"type": "integer", "minimum": 0},
                        "id": {"type": ["string", "null"]},
                        "status": {"enum": ["accepted", "rejected", "unacknowledged"]},
                        "error": {"type": ["string", "null"]},
                    },
                },
            },
        },
        "example": {
            "accepted": 1,
            "rejected": 0,
            "results": [{"index": 0, "id": "order-5501", "status": "accepted", "error": None}],
        },
    },
}
_ONE = {"$ref": "#/components/schemas/PostedTouchpoint"}
_RESULTS = {"application/json": {"schema": {"$ref": "#/components/schemas/Results"}}}
_KEY: list[dict[str, list[str]]] = [{"bearer": []}, {"basic": []}]
SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A source's write key, or an API token."},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The write key as the user and no password, or an API token as the password.",
    },
}

POST_TOUCHPOINTS: dict[str, Any] = {
    "tags": ["doors"],
    "summary": "Post touchpoints: one, an array, or one a line",
    "description": "Answers 202 only for what Kafka has acknowledged. Items are judged one by one.",
    "status_code": 202,
    "response_model": None,
    "responses": {
        200: {"description": "With `validate_only`: what would be accepted.", "content": _RESULTS},
        202: {"description": "Acknowledged by Kafka; `results` says which.", "content": _RESULTS},
        **PROBLEMS,
    },
    "openapi_extra": {
        "security": _KEY,
        "parameters": [
            {
                "name": "validate_only",
                "in": "query",
                "schema": {"type": "boolean", "default": False},
                "description": "Accept nothing; say what would be accepted.",
            },
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                "description": "Items without an id get one derived from it and their index.",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1}]},
                    "example": EXAMPLE_TOUCHPOINT,
                },
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        },
    },
}


def segment_call(name: str) -> dict[str, Any]:
    """Segment's call of that name."""
    return {
        "tags": ["segment"],
        "summary": f"Segment's `{name}`",
        "description": "Segment's HTTP API: their libraries work with only the host set.",
        "response_model": None,
        "responses": {
            200: {
                "description": "Acknowledged by Kafka. What could not be understood is kept as a dead letter.",
                "content": {"application/json": {"schema": {"type": "object"}, "example": {"success": True}}},
            },
            400: problem("Not a call of Segment's."),
            403: problem("A page of an origin that may not use this key."),
            **PROBLEMS,
        },
        "openapi_extra": {
            "security": _KEY,
            "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        },
    }


POST_CLOUDEVENTS: dict[str, Any] = {
    "tags": ["cloudevents"],
    "summary": "CloudEvents 1.0: binary, structured or batch",
    "description": "The type is the event's `type`, its `subject` the customer when the data names none.",
    "status_code": 202,
    "response_model": None,
    "responses": {
        200: {"description": "An empty batch."},
        202: {"description": "Acknowledged by Kafka; `results` says which.", "content": _RESULTS},
        400: problem("Not a CloudEvent."),
        **PROBLEMS,
    },
    "openapi_extra": {
        "security": _KEY,
        "requestBody": {
            "required": True,
            "content": {
                "application/cloudevents+json": {
                    "schema": {"type": "object"},
                    "example": {
                        "specversion": "1.0",
                        "id": "1",
                        "source": "/shop",
                        "type": "purchased",
                        "subject": "c-17",
                        "time": "2026-03-01T12:00:00Z",
                        "data": {"amount": 49.5},
                    },
                },
                "application/cloudevents-batch+json": {"schema": {"type": "array", "items": {"type": "object"}}},
                "application/json": {"schema": {}},
            },
        },
    },
}

POST_WEBHOOKS: dict[str, Any] = {
    "tags": ["webhooks"],
    "summary": "A webhook of a configured source",
    "description": "`source` is a name in the sources file; its kind decides how the request is proven genuine and "
    "read. What is genuine and not understood is kept as a dead letter and answered with success.",
    "response_model": None,
    "responses": {
        200: {"description": "Acknowledged by Kafka, in the form the vendor expects."},
        400: problem("Malformed."),
        403: problem("Genuine, and not allowed."),
        404: problem("No such source."),
        **PROBLEMS,
    },
    "openapi_extra": {
        "security": [],
        "parameters": [{"name": "source", "in": "path", "required": True, "schema": {"type": "string"}}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
    },
}

_WEB_KEY = {
    "name": "key",
    "in": "query",
    "required": True,
    "schema": {"type": "string"},
    "description": "The write key of a source of kind web (or api).",
}

POST_BEACON: dict[str, Any] = {
    "tags": ["web"],
    "summary": "What touchline.js sends",
    "description": "A touchpoint, an array of them, or `{sent_at, touchpoints}`, with any content type.",
    "status_code": 202,
    "response_model": None,
    "responses": {
        202: {"description": "Acknowledged by Kafka; `results` says which.", "content": _RESULTS},
        403: problem("A page of an origin that may not use this key."),
        **PROBLEMS,
    },
    "openapi_extra": {
        "security": [],
        "parameters": [_WEB_KEY],
        "requestBody": {
            "required": True,
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "application/json": {"schema": {}, "example": {"touchpoints": [EXAMPLE_TOUCHPOINT]}},
            },
        },
    },
}

_PIXEL = {"image/gif": {"schema": {"type": "string", "format": "binary"}}}
GET_PIXEL: dict[str, Any] = {
    "tags": ["web"],
    "summary": "One touchpoint as an image of one pixel",
    "description": "Parameters that are fields of a touchpoint are these; the others become properties. "
    "`occurred_at` is now unless given. Always an image: the status and the header Touchline-Problem say what is "
    "wrong.",
    "response_model": None,
    "responses": {
        200: {"description": "Acknowledged by Kafka.", "content": _PIXEL},
        401: {"description": "The key is missing or wrong.", "content": _PIXEL},
        422: {"description": "Not a touchpoint.", "content": _PIXEL},
        429: {"description": "The source's rate limit.", "content": _PIXEL},
        503: {"description": "Kafka did not acknowledge in time.", "content": _PIXEL},
    },
    "openapi_extra": {
        "security": [],
        "parameters": [
            _WEB_KEY,
            {"name": "type", "in": "query", "required": True, "schema": {"type": "string"}},
            {"name": "customer_id", "in": "query", "schema": {"type": "string"}},
        ],
    },
}

GET_SCRIPT: dict[str, Any] = {
    "tags": ["web"],
    "summary": "The script for pages",
    "response_model": None,
    "responses": {
        200: {"description": "JavaScript.", "content": {"text/javascript": {"schema": {"type": "string"}}}},
        304: {"description": "Not changed."},
    },
    "openapi_extra": {"security": []},
}
