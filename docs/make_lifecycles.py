"""Writes lifecycles.md and lifecycle.schema.json from the definitions and the models they are read with."""

import json
from pathlib import Path

from touchline_stage_engine import builtin
from touchline_stage_engine.core.definition import json_schema
from touchline_stage_engine.core.mermaid import page
from touchline_stage_engine.core.reading import read_definition

HERE = Path(__file__).parent


def contents() -> dict[str, str]:
    """What each of the files should hold."""
    definitions = [read_definition(builtin.text_of(name), builtin.file_of(name)) for name in builtin.NAMES]
    return {
        "lifecycles.md": page(definitions),
        "lifecycle.schema.json": json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
    }


if __name__ == "__main__":
    for name, text in contents().items():
        (HERE / name).write_text(text, encoding="utf-8")
