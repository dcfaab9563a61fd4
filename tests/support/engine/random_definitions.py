"""Random lifecycle definitions over the types of touchpoints that the engine's tests post."""

import json
import random
from typing import Any

from touchline_runtime.yaml.positions import FaultyDocumentError
from touchline_stage_engine.core.definitions.parse import read_definition

from tests.support.engine.world import TYPES

_STAGES = ("one", "two", "three", "four", "five")


def random_definition(seed: random.Random, name: str, version: int) -> str:
    """The text (JSON is YAML) of a definition that passes every check."""
    while True:
        text = json.dumps(_attempt(seed, name, version), indent=1)
        try:
            read_definition(text, "")
        except FaultyDocumentError:
            continue
        return text


def _attempt(seed: random.Random, name: str, version: int) -> dict[str, Any]:
    stages: list[dict[str, Any]] = [{"name": stage} for stage in seed.sample(_STAGES, seed.randint(2, 4))]
    names = [stage["name"] for stage in stages]
    for stage in stages:
        if seed.random() < 0.7:
            stage["stall"] = {"after": f"{seed.randint(1, 40)}d"}
        if seed.random() < 0.5:
            stage["lapse"] = {"after": f"{seed.randint(2, 90)}d", "to": seed.choice(names)}
        stage["rules"] = [_rule(seed, names) for _ in range(seed.randint(0, 3))]
    return {
        "lifecycle": name,
        "version": version,
        "cyclic": seed.random() < 0.5,
        "rules": [_rule(seed, names) for _ in range(seed.randint(0, 2))],
        "stages": stages,
    }


def _rule(seed: random.Random, names: list[str]) -> dict[str, Any]:
    target = seed.choice([*names, "next", "previous", "first"])
    if seed.random() < 0.2:
        return {"all": [_condition(seed) for _ in range(2)], "to": target}
    return _condition(seed) | {"to": target}


def _condition(seed: random.Random) -> dict[str, Any]:
    condition: dict[str, Any] = {"when": seed.choice([*({one} for one in set(TYPES)), {"*"}])}
    condition["when"] = sorted(condition["when"])
    if seed.random() < 0.6:
        condition["count"] = seed.randint(1, 4)
    if seed.random() < 0.3:
        condition["within"] = f"{seed.randint(1, 60)}d"
    if seed.random() < 0.2:
        condition["where"] = {"properties.score": {seed.choice(["lte", "gte"]): seed.randint(0, 10)}}
    return condition
