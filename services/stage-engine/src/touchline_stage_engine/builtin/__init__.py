"""The lifecycles that ship: six published models of the customer relationship, as definitions to run or to copy."""

from importlib import resources

NAMES = ("reach-to-loyalty", "courtship", "focus-cycle", "journey", "experience", "service-cycle")


def text_of(name: str) -> str:
    """The YAML of a built-in lifecycle; KeyError when there is none of that name."""
    if name not in NAMES:
        raise KeyError(name)
    return (resources.files(__package__) / f"{name}.yaml").read_text(encoding="utf-8")


def file_of(name: str) -> str:
    """The name that messages about a built-in carry."""
    return f"builtin/{name}.yaml"
