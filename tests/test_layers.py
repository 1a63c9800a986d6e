"""Imports point down, modules and functions stay small enough to read; read from the source, with ``ast``.

The layers are those of the package's architecture: values and rules (0), one outside system each (1), use
cases (2), the names that Airflow's users import (3), and what faces people and the web (4).
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import airflow_provider_voiceinfra

NAME = "airflow_provider_voiceinfra"
ROOT = Path(airflow_provider_voiceinfra.__file__).parent
MAP = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"

# A module's layer is that of its longest prefix; a new one has to be given a place here.
LAYERS = {
    0: """
        __init__ get_provider_info exceptions masking calls webhooks.signing webhooks.reasons
        webhooks.moments waiting.threads tasks.xcom_values tasks.arguments tasks.identity
        campaigns.contacts.templates campaigns.contacts.phone_numbers rules
    """,
    1: """
        settings connection metrics api ledger dialling.retrying dialling.rate campaigns.contacts
    """,
    2: "deployment teams webhooks waiting dialling campaigns campaigns.contacts.loading",
    3: "hooks triggers sensors operators decorators links tasks",
    4: "web plugin cli diagnosis audit",
}
LAYER_OF = {module: layer for layer, modules in LAYERS.items() for module in modules.split()}
ASIDE = "sandbox"
# Below layer 3 these alone know Airflow: its configuration, its connections, its metrics, and the paths that
# its ObjectStoragePath opens. All import it inside functions.
MAY_KNOW_AIRFLOW = {"settings", "deployment", "teams", "metrics", "campaigns.contacts.text_files"}

MOST_LINES = 300
MOST_FUNCTION_LINES = 40
MOST_MODULES = 12
MOST_MODULES_IN = {".": 13, "sandbox": 13}


class Import(NamedTuple):
    """One import of a module; ``at_import`` says whether it is executed when that module is imported."""

    target: str
    line: int
    at_import: bool


def modules(root: Path) -> dict[str, Path]:
    """Return all modules below a folder by their dotted name; a package has the name of its folder."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


def imports(source: str, known: dict[str, Path]) -> Iterator[Import]:
    """Yield the imports of our own modules, without the package's name, and of Airflow's, with it."""
    tree = ast.parse(source)
    late = {
        id(node)
        for scope in ast.walk(tree)
        if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_type_checking(scope)
        for node in ast.walk(scope)
    }
    for node in ast.walk(tree):
        for target in _targets(node, known):
            yield Import(target, node.lineno, id(node) not in late)  # type: ignore[attr-defined]


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _targets(node: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "relative imports are not used here"
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
        if name.partition(".")[0] == "airflow":
            yield name
        elif name.partition(".")[0] == NAME:
            inner = name.removeprefix(NAME).lstrip(".")
            # What is no module is something in one.
            yield inner if inner in known else inner.rpartition(".")[0] or "__init__"


def layer(module: str) -> int:
    name = module
    while name not in LAYER_OF:
        assert "." in name, f"{module} has no layer; give it a place in LAYERS"
        name = name.rpartition(".")[0]
    return LAYER_OF[name]


def is_aside(module: str) -> bool:
    return module.partition(".")[0] == ASIDE


def broken_rules(sources: dict[str, str], known: dict[str, Path]) -> list[str]:
    """Return what is wrong with the imports of modules, one line each."""
    wrong = []
    for module, source in sources.items():
        for found in imports(source, known):
            rule = _broken_rule(module, found)
            if rule:
                wrong.append(f"{module}:{found.line} imports {found.target}, {rule}")
    return wrong


def _broken_rule(module: str, found: Import) -> str | None:
    if found.target.partition(".")[0] == "airflow":
        if is_aside(module):
            return "but the sandbox runs without Airflow"
        if layer(module) < 3 and (module not in MAY_KNOW_AIRFLOW or found.at_import):
            return "but Airflow begins at layer 3"
        return None
    if is_aside(found.target):
        return None if is_aside(module) else "but nothing imports the sandbox"
    if is_aside(module):
        return None if found.target == "webhooks.signing" else "but the sandbox knows signing only"
    if layer(found.target) > layer(module):
        return f"which is above it (layer {layer(found.target)} over {layer(module)})"
    return None


def sends(source: str) -> list[int]:
    """Return the lines that have a client place a call; a ``placer`` claims it in the ledger before."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "place"
        and not ast.unparse(node.func.value).endswith(("placer", "placer()"))
    ]


def imported_names(source: str) -> set[str]:
    """Return the names that a module imports from others when it runs."""
    tree = ast.parse(source)
    typing = {id(node) for scope in ast.walk(tree) if _is_type_checking(scope) for node in ast.walk(scope)}
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and id(node) not in typing
        for alias in node.names
    }


KNOWN = modules(ROOT)
SOURCES = {module: path.read_text() for module, path in KNOWN.items()}


def test_every_module_has_a_layer_and_imports_point_down() -> None:
    assert len(SOURCES) > 50
    assert all(is_aside(module) or layer(module) in LAYERS for module in SOURCES)
    assert broken_rules(SOURCES, KNOWN) == []
    with pytest.raises(AssertionError, match="no_such_module has no layer"):
        layer("no_such_module")


def test_only_dialling_rings_anybody() -> None:
    sending = {module for module, source in SOURCES.items() if not is_aside(module) and sends(source)}
    assert sending == {"dialling.sending", "dialling.dialler"}


def test_only_those_who_hand_it_to_dialling_make_a_client_that_rings() -> None:
    making = {module for module, source in SOURCES.items() if "VoiceInfraClient" in imported_names(source)}
    others = {module for module in making if not module.startswith("dialling.")}
    assert others == {"hooks.voiceinfra", "campaigns.campaign"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("client.place(call)", True),
        ("self._client.place(call, begin_by=1)", True),
        ("hook.get_conn().place(call)", True),
        ("self.placer().place(key, call)", False),
        ("placer.place(key, call)", False),
        ("place(call)", False),
    ],
)
def test_a_request_that_rings_is_found(source: str, found: bool) -> None:
    assert bool(sends(source)) is found


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        module: {found.target for found in imports(source, KNOWN) if found.at_import} - {module}
        for module, source in SOURCES.items()
    }
    try:
        TopologicalSorter({name: targets & set(graph) for name, targets in graph.items()}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    ("module", "source", "rule"),
    [
        ("calls", f"from {NAME}.ledger.store import CallLedger", "which is above it (layer 1 over 0)"),
        ("calls", f"def f():\n    from {NAME}.dialling import placing", "which is above it (layer 2 over 0)"),
        ("ledger.rows", f"import {NAME}.hooks.voiceinfra", "which is above it (layer 3 over 1)"),
        ("waiting.watcher", f"if TYPE_CHECKING:\n    from {NAME}.web.app import App", "which is above it"),
        ("dialling.sending", "def f():\n    import airflow", "Airflow begins at layer 3"),
        ("api.client", "from airflow.sdk import BaseHook", "Airflow begins at layer 3"),
        ("settings", "from airflow.sdk.configuration import conf", "Airflow begins at layer 3"),
        ("settings", "def f():\n    from airflow.sdk.configuration import conf", None),
        ("hooks.voiceinfra", "from airflow.sdk import BaseHook", None),
        ("hooks.voiceinfra", f"from {NAME}.sandbox.app import create_app", "nothing imports the sandbox"),
        ("sandbox.app", f"from {NAME}.sandbox import wire", None),
        ("sandbox.app", f"from {NAME}.webhooks.signing import sign", None),
        ("sandbox.app", f"from {NAME}.masking import mask_number", "the sandbox knows signing only"),
        ("sandbox.app", "import airflow.sdk", "the sandbox runs without Airflow"),
        ("dialling.sending", f"from {NAME} import __version__", None),
    ],
)
def test_each_rule_finds_what_breaks_it(module: str, source: str, rule: str | None) -> None:
    wrong = broken_rules({module: source}, KNOWN)
    assert len(wrong) == (0 if rule is None else 1)
    assert rule is None or rule in wrong[0]


def test_modules_are_small_enough_to_read_at_once() -> None:
    lines = {module: source.count("\n") for module, source in SOURCES.items()}
    assert {module: count for module, count in lines.items() if count > MOST_LINES} == {}


def test_folders_hold_no_more_modules_than_one_can_keep_in_mind() -> None:
    folders = Counter(
        str(path.parent.relative_to(ROOT)) for path in KNOWN.values() if path.stem[0] not in "_0"
    )
    allowed = {folder: MOST_MODULES_IN.get(folder, MOST_MODULES) for folder in folders}
    assert {folder: count for folder, count in folders.items() if count > allowed[folder]} == {}


def test_the_map_says_of_every_module_what_the_module_says_of_itself() -> None:
    there = {
        str(path.relative_to(ROOT).with_suffix("")): _first_line(path)
        for path in KNOWN.values()
        if path.stem[0] not in "_0" and "migrations" not in path.parts
    }
    tables = re.split(r"^### `(.+?)/`\n", MAP.read_text(), flags=re.MULTILINE)[1:]
    on_the_map = {
        f"{folder}/{module}".removeprefix("./"): says.replace("\\|", "|")
        for folder, rows in zip(tables[::2], tables[1::2], strict=True)
        for module, says in re.findall(r"^\| `(\w+)` \| (.+) \|$", rows, flags=re.MULTILINE)
    }
    assert on_the_map == there, "docs/architecture.md repeats the first line of each module"


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.partition("\n")[0].replace("``", "`").removesuffix(".")


def test_functions_are_small_enough_to_understand() -> None:
    lengths = {
        f"{module}.{node.name}": _code_lines(node)
        for module, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: length for name, length in lengths.items() if length > MOST_FUNCTION_LINES} == {}


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1
