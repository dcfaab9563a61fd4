"""Rules for our own code beyond ruff's `S` (bandit's) rules: kinds of fault that were found, and may not come back.

Each rule walks the syntax trees of all packages.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for base in ("libs", "services") for path in (ROOT / base).glob("*/src/**/*.py"))
SERVICES = [path for path in SOURCES if path.is_relative_to(ROOT / "services") or "runtime" in path.parts]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Every call, with the dotted name of what is called."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def named(node: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in node.keywords if keyword.arg == name), None)


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def runs_text(path: Path) -> Iterator[ast.AST]:
    """eval, exec, pickle, marshal, shelve, os.system, a shell."""
    for node, name in calls(path):
        if name in {"eval", "exec", "os.system", "os.popen"} or name.split(".")[0] in {"pickle", "marshal", "shelve"}:
            yield node
        if is_constant(named(node, "shell"), True):
            yield node


def reads_yaml_into_objects(path: Path) -> Iterator[ast.AST]:
    """ruamel's unsafe loaders, and PyYAML, which reads YAML 1.1."""
    for node, name in calls(path):
        if name == "YAML" and ast.unparse(named(node, "typ") or ast.Constant("rt")) not in ("'safe'", "'rt'"):
            yield node
    for imported in ast.walk(tree(path)):
        if isinstance(imported, ast.Import) and any(alias.name == "yaml" for alias in imported.names):
            yield imported


def renders_outside_the_sandbox(path: Path) -> Iterator[ast.AST]:
    """Templates that people write are rendered in jinja2's sandbox, and pages with autoescape."""
    for node, name in calls(path):
        if name.endswith("Environment") and "Sandbox" not in name and named(node, "autoescape") is None:
            yield node
        if name in {"Template", "jinja2.Template"}:
            yield node


def trusts_any_certificate(path: Path) -> Iterator[ast.AST]:
    """verify=False, CERT_NONE, check_hostname = False."""
    for call, _ in calls(path):
        if is_constant(named(call, "verify"), False):
            yield call
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and node.attr == "CERT_NONE":
            yield node
        if isinstance(node, ast.Assign) and is_constant(node.value, False):
            yield from (t for t in node.targets if isinstance(t, ast.Attribute) and t.attr == "check_hostname")


def follows_redirects(path: Path) -> Iterator[ast.AST]:
    """A client that follows redirects reaches what was not checked."""
    for node, _ in calls(path):
        if is_constant(named(node, "follow_redirects"), True):
            yield node


def compares_secrets_with_equality(path: Path) -> Iterator[ast.AST]:
    """Signatures and tokens are compared in constant time."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            if any(side.endswith((".hexdigest()", ".digest()")) for side in sides) and "hmac" in path.read_text():
                yield node


def draws_predictable_secrets(path: Path) -> Iterator[ast.AST]:
    """Tokens, keys and secrets come from `secrets` or os.urandom, never from `random`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assign) and "random." in ast.unparse(node.value):
            names = [ast.unparse(target).lower() for target in node.targets]
            if any(word in name for name in names for word in ("secret", "token", "nonce", "key_")):
                yield node


def waits_for_ever(path: Path) -> Iterator[ast.AST]:
    """Connections have time limits."""
    for node, name in calls(path):
        if name in {"asyncpg.connect", "asyncpg.create_pool"} and not (
            named(node, "timeout") or any(keyword.arg is None for keyword in node.keywords)
        ):
            yield node


EVERYWHERE: list[Callable[[Path], Iterator[ast.AST]]] = [
    runs_text, reads_yaml_into_objects, renders_outside_the_sandbox, trusts_any_certificate,
    compares_secrets_with_equality, draws_predictable_secrets,
]  # fmt: skip
IN_SERVICES = [follows_redirects, waits_for_ever]


def found(rule: Callable[[Path], Iterator[ast.AST]], paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)[:100]}"
        for path in paths
        for node in rule(path)
    ]


@pytest.mark.parametrize("rule", EVERYWHERE, ids=lambda rule: rule.__name__)
def test_no_package(rule: Callable[[Path], Iterator[ast.AST]]) -> None:
    assert found(rule, SOURCES) == []


@pytest.mark.parametrize("rule", IN_SERVICES, ids=lambda rule: rule.__name__)
def test_no_service(rule: Callable[[Path], Iterator[ast.AST]]) -> None:
    assert found(rule, SERVICES) == []


LOOKED_AT = {
    # Names that the settings' pattern limits to letters, digits, `_` and `-`, in quotes.
    "pools.py: schema",
    # Chosen from the constants of the module by the values of an enumeration; values are parameters.
    *(f"people.py: {name}" for name in ("expression", "source", "page_where", "where", "order")),
}
"""Pieces of statements that are no constants, and why each is safe. A new one has to be looked at."""
SQL_VERBS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "COPY ", "ALTER ", "CREATE ", "DROP ")


def formatted_sql(path: Path) -> Iterator[Any]:
    """Statements that are put together from pieces."""
    for node in ast.walk(tree(path)):
        first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else None
        if isinstance(first, ast.Constant) and str(first.value).lstrip().startswith(SQL_VERBS):
            yield node


def test_statements_are_put_together_from_constants_alone() -> None:
    """What is put into the text of a statement is a constant of the module, a column list or a quoted name."""
    suspicious = []
    for path in SERVICES:
        if "migrations" in path.parts:
            continue
        for node in formatted_sql(path):
            for value in node.values:
                if isinstance(value, ast.FormattedValue):
                    text = ast.unparse(value.value)
                    if not text.isupper():
                        suspicious.append(f"{path.name}: {text}")
    assert set(suspicious) <= LOOKED_AT, set(suspicious) - LOOKED_AT


PLANTED = {
    "runs_text": "subprocess.run('ls', shell=True)",
    "reads_yaml_into_objects": "YAML(typ='unsafe')",
    "renders_outside_the_sandbox": "Environment(loader=x)",
    "trusts_any_certificate": "context.check_hostname = False",
    "compares_secrets_with_equality": "import hmac\nok = hmac.new(a, b).hexdigest() == given",
    "draws_predictable_secrets": "token = random.choice(letters)",
    "follows_redirects": "httpx.AsyncClient(follow_redirects=True)",
    "waits_for_ever": "asyncpg.connect(url)",
}


@pytest.mark.parametrize("rule", [*EVERYWHERE, *IN_SERVICES], ids=lambda rule: rule.__name__)
def test_a_rule_finds_what_it_is_about(rule: Callable[[Path], Iterator[ast.AST]], tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text(PLANTED[rule.__name__])
    assert list(rule(file))
