"""The documentation leads somewhere, its examples work, and its tables say what the code says."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_voiceinfra.hooks.voiceinfra import VoiceInfraHook
from airflow_provider_voiceinfra.operators.voiceinfra import (
    VoiceInfraCampaignOperator,
    VoiceInfraOutboundCallOperator,
    VoiceInfraPurgeOperator,
)
from airflow_provider_voiceinfra.sensors.voiceinfra import VoiceInfraCallCompletedSensor

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")), *DOCS]
EXAMPLES = sorted((ROOT / "dags_examples").glob("*.py"))
DEMO = sorted((ROOT / "scripts" / "demo_dags").glob("*.py"))
LOGICAL_DATE = re.compile(r"\{\{\s*((?:ds|ts)(?:_\w+)?|logical_date|data_interval_\w+)\b")

FENCE = re.compile(r"^( *)(`{3,})(\w*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)", re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)
# A size or a port has neither a plus sign nor separators, and is shorter than ten digits.
NUMBER = re.compile(
    r"(?<![\w.:/-])(?:\+\d(?:[ ().-]{0,2}\d){6,14}|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}|\d{10,15})(?!\w)"
)
FICTION = re.compile(r"(\+?1)?[2-9]\d{2}55501\d{2}")
CONFIGURED = "[operators] default_deferrable"


def page_ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(prose(path)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def python_blocks() -> Iterator[Any]:
    for page in PAGES:
        text = page.read_text()
        for block in FENCE.finditer(text):
            if block[3] == "python":
                line = text.count("\n", 0, block.start()) + 2
                yield pytest.param(page, line, block[4], id=f"{page_ids(page)}:{line}")


def compiled(page: Path, line: int, code: str) -> Any:
    # Blank lines in front make an error name the line of the page.
    return compile("\n" * (line - 1) + inspect.cleandoc("\n" + code), str(page), "exec")


def table(page: str, heading: str, first_column: str) -> dict[str, dict[str, str]]:
    """Return the rows of the table under a heading, by the name in their first column."""
    section = re.split(r"^#+ ", (ROOT / "docs" / page).read_text(), flags=re.MULTILINE)
    [text] = [part for part in section if part.startswith(heading + "\n")]
    lines = iter(text.splitlines())
    names = next(cells(line) for line in lines if line.startswith(f"| {first_column} |"))
    next(lines)
    rest = takewhile(lambda line: line.startswith("|"), lines)
    found = [dict(zip(names, cells(line), strict=True)) for line in rest]
    rows = {row[first_column].strip("`"): row for row in found}
    assert len(rows) == len(found), "a row is there twice"
    return rows


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    own = inspect.signature(function).parameters.values()
    return {item.name: item for item in own if item.name != "self" and item.kind is not item.VAR_KEYWORD}


def real_numbers(text: str) -> list[str]:
    """Return what looks like a phone number that may belong to somebody."""
    found = NUMBER.findall(text)
    return [number for number in found if FICTION.fullmatch(re.sub(r"[ ().-]", "", number)) is None]


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_relative_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or not target.is_relative_to(ROOT):
            broken.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target):
            broken.append(f"{link}: no such heading")
    assert broken == []


def test_index_names_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = set(LINK.findall(prose(index)))
    assert {page.name for page in DOCS} - {index.name} <= linked


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES, *DEMO], ids=page_ids)
def test_nothing_that_is_shown_needs_a_logical_date(path: Path) -> None:
    # Airflow gives none to a run that is triggered by hand, where `{{ ds }}` is undefined.
    text = path.read_text()
    code = [text] if path.suffix == ".py" else [block[4] for block in FENCE.finditer(text)]
    assert [found for part in code for found in LOGICAL_DATE.findall(part)] == []


@pytest.mark.parametrize(("page", "line", "code"), list(python_blocks()))
def test_python_in_the_documentation_compiles_and_a_dag_loads(page: Path, line: int, code: str) -> None:
    example = compiled(page, line, code)
    if "from airflow.sdk import" in code:
        exec(example, {"__name__": "an_example"})


@pytest.mark.parametrize(
    ("function", "page", "heading", "templated"),
    [
        *(
            pytest.param(task.__init__, page, heading, task.template_fields, id=f"{page} {heading}")
            for task, page, heading in (
                (VoiceInfraOutboundCallOperator, "operators.md", "Parameters"),
                (VoiceInfraPurgeOperator, "operators.md", "Purging on a schedule"),
                (VoiceInfraCampaignOperator, "campaigns.md", "Parameters"),
                (VoiceInfraCallCompletedSensor, "waiting.md", "Parameters"),
            )
        ),
        pytest.param(VoiceInfraHook.place_call, "hook.md", "Place a call", None, id="hook.md"),
    ],
)
def test_parameter_table_says_what_the_code_says(
    function: Callable[..., Any], page: str, heading: str, templated: tuple[str, ...] | None
) -> None:
    rows, expected = table(page, heading, "Parameter"), parameters(inspect.unwrap(function))

    assert list(rows) == list(expected)
    for name, parameter in expected.items():
        stated = rows[name]["Default"].strip("`")
        if parameter.default is parameter.empty:
            assert stated == "required", name
        elif stated == CONFIGURED:
            assert name == "deferrable"
        else:
            assert ast.literal_eval(stated) == parameter.default, name
    if templated is not None:
        assert {name for name, row in rows.items() if row["Templated"] == "yes"} == set(templated)


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=page_ids)
def test_phone_numbers_are_fictitious(page: Path) -> None:
    assert real_numbers(page.read_text()) == []


@pytest.mark.parametrize(
    ("number", "real"),
    [
        ("+14155550100", False),
        ("+1 202 555 0199", False),
        ("(415) 555-0100", False),
        ("1048576", False),
        ("2026-03-01T20:00:00+00:00", False),
        ("+1415***0100", False),
        ("+14155550200", True),
        ("+1 415 555 1234", True),
        ("415-555-1234", True),
        ("4155551234", True),
        ("+442079460000", True),
    ],
)
def test_real_phone_number_would_be_found(number: str, real: bool) -> None:
    assert bool(real_numbers(f"Call {number}, please.")) is real


def vocabulary() -> re.Pattern[str]:
    """Return what the vocabulary of CONTRIBUTING.md says not to write."""
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## Vocabulary\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!Say|-)[^|]+ \| ([^|]+) \|$", section, flags=re.MULTILINE)
    words = [word.strip() for row in rows for word in row.split(",")]
    assert len(words) > 15
    return re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, words))})(?![\w-])", re.IGNORECASE)


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page, or the texts of a module, with the number of the line."""
    if path.suffix != ".py":
        text = path.read_text()
        if path.name == "CONTRIBUTING.md":
            before, _, rest = text.partition("## Vocabulary\n")
            text = before + "\n" * rest.partition("\n## ")[0].count("\n") + rest.partition("\n## ")[2]
        yield from enumerate(text.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


PACKAGE = ROOT / "airflow_provider_voiceinfra"
WRITTEN = [
    *(page for page in PAGES if page.name != "CHANGELOG.md"),
    *sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".html")),
]


@pytest.mark.parametrize("path", WRITTEN, ids=page_ids)
def test_words_are_those_that_people_search_for(path: Path) -> None:
    refused = vocabulary()
    found = {line: match[0] for line, text in texts_of(path) for match in refused.finditer(text)}
    assert found == {}, "see the vocabulary in CONTRIBUTING.md"
