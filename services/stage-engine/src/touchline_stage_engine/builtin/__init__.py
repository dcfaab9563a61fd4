"""The built-in lifecycles: six published models of the customer relationship, as definitions to run or to copy."""

from importlib import resources

NAMES = ("reach-to-loyalty", "courtship", "focus-cycle", "journey", "experience", "service-cycle")


def text_of(name: str) -> str:
    """The YAML of a built-in lifecycle; KeyError for an unknown name."""
    if name not in NAMES:
        raise KeyError(name)
    return (resources.files(__package__) / f"{name}.yaml").read_text(encoding="utf-8")


def file_of(name: str) -> str:
    """The file name in messages about a built-in lifecycle."""
    return f"builtin/{name}.yaml"
