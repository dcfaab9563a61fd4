"""The page about sources: its examples are usable sources files, and no kind is left out."""

import base64
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from touchline_ingest.core.access.sources_file import read_sources
from touchline_ingest.core.sources.registry import build_registry

PAGE = (Path(__file__).parents[5] / "docs/sources.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
REGISTRY = build_registry()


def secret(_how, name):
    if name == "SENDGRID_PUBLIC_KEY":
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    if name.endswith("CREDENTIALS"):
        return "user:password"
    return "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_usable_sources_file(example):
    assert read_sources(example, registry=REGISTRY, read_secret=secret).entries


def test_every_kind_is_on_the_page():
    assert all(f"| `{kind}`" in PAGE for kind in REGISTRY.sources)


def test_the_examples_cover_every_kind_with_a_secret():
    shown = {kind for kind in REGISTRY.sources if re.search(rf"kind: {kind}\b", "".join(EXAMPLES))}
    assert shown == set(REGISTRY.sources) - {"cloudevents"}
