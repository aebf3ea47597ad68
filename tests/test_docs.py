"""The documents are held to the program: what a page says is what the program does."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import umbridge_interqual_like
import umbridge_mcg_like
import umbridge_two_midnight
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from umbridge_audit.cli import main as verifier
from umbridge_audit.redact import PURPOSES

from umbridge import __version__, errors, hookspecs
from umbridge.commands.main import main as umbridge
from umbridge.hl7 import ack
from umbridge.model import Case, Manifest, ScreenResult
from umbridge.settings import config
from umbridge.settings.parts import Windows
from umbridge.settings.site import SiteProfile

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "audit").glob("*.md"))
    if path.is_file()
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- pages the program writes -------------------------------------------------------------------------


def test_the_command_page_is_what_the_commands_say(generate: ModuleType) -> None:
    assert read("docs/cli.md") == generate.page(), "run `make docs`"


def test_the_page_of_what_is_unsigned_lists_every_criterion_that_the_content_marks(
    generate: ModuleType,
) -> None:
    page = generate.unsigned()
    assert read("docs/unsigned.md") == page, "run `make docs`"
    libraries = (umbridge_interqual_like.LIBRARY, umbridge_mcg_like.LIBRARY, umbridge_two_midnight.LIBRARY)
    for library in libraries:
        for subset in library.subsets.values():
            for each in subset.rules.criteria.values():
                assert (f"| `{each.id}` | {each.title} |" in page) or each.mark == "published", each.id


def test_readme_shows_the_figures_of_the_last_bench(generate: ModuleType) -> None:
    assert generate.section(read("README.md"), "figures") == generate.figures(), "run `make docs`"


# --- pages a person writes ----------------------------------------------------------------------------


def settings_keys() -> Iterator[tuple[str, str, Any]]:
    """(heading, key, default) of every setting."""
    for section, part in config.Settings.model_fields.items():
        if section == "directory":  # where the file lies; not a key of the file
            continue
        model = config.FeedSettings if section == "feeds" else part.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)
        heading = "## `[feeds.NAME]`" if section == "feeds" else f"## `[{section}]`"
        for key, found in model.model_fields.items():
            yield heading, key, found.default


def toml(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f"`{value}`"


def test_every_setting_is_described_with_its_default() -> None:
    page = read("docs/configuration.md")
    expected: dict[str, set[tuple[str, str]]] = {}
    for heading, key, default in settings_keys():
        expected.setdefault(heading, set()).add((f"`{key}`", toml(default)))
    described = {}
    for heading in expected:
        block = page.split(heading + "\n", 1)[1].split("\n## ", 1)[0]
        rows = (line.split("|") for line in block.splitlines() if line.startswith("| `"))
        described[heading] = {(cells[1].strip(), cells[2].strip()) for cells in rows}
    assert described == expected


def test_every_event_of_the_log_is_explained() -> None:
    logged = re.compile(r"\blog\.(?:debug|info|warning|error|critical|exception)\(\s*\"(\w+)\"")
    said = {
        name
        for path in (ROOT / "umbridge").rglob("*.py")
        for name in logged.findall(path.read_text(encoding="utf-8"))
    }
    table = read("docs/operations.md").split("\n## The log", 1)[1].split("\n## ", 1)[0]
    explained = set(re.findall(r"(?m)^\| `(\w+)` \|", table))
    assert explained == said | {"library_message"}


def test_every_exit_code_is_explained() -> None:
    codes = {kind.exit_code for kind in vars(errors).values() if hasattr(kind, "exit_code")}
    explained = {int(code) for code in re.findall(r"(?m)^\| (\d+) \|", read("docs/cli.md"))}
    assert codes | {0, 2, 3, 4, 130} == explained


def test_every_condition_of_a_refusal_is_in_the_table() -> None:
    source = read("umbridge/hl7/ack.py") + read("umbridge/intake/receive.py")
    used = set(re.findall(r"RefusedError\(\"A[ER]\", (\d+)", source))
    assert len(used) > 6
    table = "\n".join(line for line in read("docs/intake.md").splitlines() if line.startswith("|"))
    assert {code for code in used if not re.search(rf"\b{code}\b", table)} == set()


def test_a_key_that_nothing_reads_is_admitted() -> None:
    """A setting without an effect is a false promise: README must say which have none yet, and no others."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "umbridge").rglob("*.py")}
    # In the two files that define them, only a use by their own methods counts.
    inside = sources.pop("site.py") + sources.pop("config.py")
    keys = {key for _, key, _ in settings_keys()}
    keys |= {field.name for kind in (SiteProfile, Windows) for field in fields(kind)}
    read_by_us = {
        key
        for key in keys
        if any(re.search(rf"\.{key}\b", text) for text in sources.values())
        or re.search(rf"self\.(?:paths\.|ledger\.)?{key}\b", inside)
    }
    admitted = read("README.md").split("\n## Not built yet", 1)[1].split("\n## ", 1)[0]
    assert keys - read_by_us == {key for key in keys if f"`{key}`" in admitted}


def test_the_messages_that_are_used_are_listed() -> None:
    block = read("docs/intake.md").split("\n## What is used", 1)[1].split(". ", 1)[0]
    listed = {
        (kind, trigger)
        for kind, triggers in re.findall(r"`([A-Z]{3})` ((?:[A-Z]\d\d\s*)+)", block)
        for trigger in triggers.split()
    }
    assert listed == ack.USED


def test_the_hooks_page_has_every_hook() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("umbridge_")}
    page = read("docs/hooks.md")
    assert set(re.findall(r"(?m)^## (umbridge_\w+)$", page)) == hooks
    assert f"Version {hookspecs.VERSION}" in page


@pytest.mark.parametrize("what", [Manifest, Case, ScreenResult], ids=lambda what: what.__name__)
def test_the_hooks_page_has_every_field_where_it_belongs(what: type[Manifest | Case | ScreenResult]) -> None:
    table = read("docs/hooks.md").split(f"| field of `{what.__name__}` |", 1)[1].split("\n\n", 1)[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(each.name for each in fields(what))


def test_every_purpose_that_can_be_used_is_named() -> None:
    """ETREAT and BTG are granted to nobody until break-glass is built."""
    named = read("docs/cli.md").split("one of ", 1)[1].split(".", 1)[0]
    assert named.split() == [purpose for purpose in PURPOSES if purpose not in ("ETREAT", "BTG")]


# --- decisions ----------------------------------------------------------------------------------------


RECORDS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))


def test_decisions_have_numbers_of_their_own_and_are_listed() -> None:
    assert len({path.name[:4] for path in RECORDS}) == len(RECORDS)
    listed = re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", read("docs/decisions/README.md"))
    assert sorted(listed) == [path.name for path in RECORDS]  # each once, under its area
    areas = read("docs/decisions/README.md").split("\n## ")[1:]
    assert all(each == sorted(each) for area in areas if (each := re.findall(r"\[(\d{4})\]", area)))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_decision_fits_one_page_and_has_its_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?m)^## (.+)$", text) == ["Context", "Decision", "Consequences"]
    assert text.startswith(f"# {path.name[:4]} ")
    assert text.count("\n") < 60


GIVEN = {
    "hl7apy",
    "pluggy",
    "cryptography",
    "sqlmodel",
    "click",
    "pytest",
    "umbridge-audit",
    "umbridge-daemon",
}


def test_every_further_dependency_has_its_line() -> None:
    """The six that were given need none; each other one says why it is here, and none stays that has gone."""
    needed: set[str] = set()
    for path in (
        ROOT / "pyproject.toml",
        *ROOT.glob("audit/pyproject.toml"),
        *ROOT.glob("plugins/*/pyproject.toml"),
    ):
        project = tomllib.loads(path.read_text(encoding="utf-8"))
        lists = [project["project"].get("dependencies", []), project["build-system"]["requires"]]
        lists += project["project"].get("optional-dependencies", {}).values()
        needed |= {re.split(r"[\s=<>~!;\[]", item, maxsplit=1)[0] for items in lists for item in items}
    record = next(path for path in RECORDS if "development-dependencies" in path.name)
    explained = set(re.findall(r"(?m)^\| ([a-z][\w-]+) \|", record.read_text(encoding="utf-8"))) - {"package"}
    assert explained == needed - GIVEN


# --- every page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"(?s)```.*?```", "", path.read_text(encoding="utf-8"))
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]
    assert [t for t in targets if t and not (path.parent / t).exists()] == []


# "HIPAA-style" says what it is; software cannot be what these words claim.
CLAIMS = re.compile(
    r"(?i)hipaa[ -]compliant|hipaa[ -]certified|\bcompliant\b|\bcertified\b|tamper-?proof|\bunbreakable\b"
)
UNFINISHED = re.compile(r"\bTODO\b|\bTBD\b|\bFIXME\b|\bXXX\b|(?i:lorem ipsum)|(?i:coming soon)")


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_a_page_claims_nothing_it_cannot_and_leaves_nothing_open(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert CLAIMS.findall(text) == []
    assert UNFINISHED.findall(text) == []


def code(text: str) -> Iterator[str]:
    """Commands as a reader would copy them: code spans, and lines of code blocks."""
    for block in re.findall(r"(?s)```\w*\n(.*?)```", text):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"(?s)```.*?```", "", text))


def unknown_words(line: str) -> list[str]:
    """The subcommands and options of one umbridge command line that the program does not have."""
    match = re.match(r"^(?:\$ |ExecStart=)?(?:\S*/)?(umbridge|umbridge-verify)(?= |$)(.*)", line.strip())
    if match is None:
        return []
    try:
        words = shlex.split(match[2], comments=True)
    except ValueError:
        return [line]
    command: click.Command = umbridge if match[1] == "umbridge" else verifier
    unknown = []
    context = click.Context(command)
    for word in words:
        if word.startswith("--"):
            known = {name for option in command.get_params(context) for name in option.opts} | {"--help"}
            unknown += [] if word.partition("=")[0] in known else [word]
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                unknown.append(word)
                break
            command = found
            context = click.Context(command)
    return unknown


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_commands_in_the_text_exist(path: Path, generate: ModuleType) -> None:
    if path.name == "cli.md":  # written from the commands; its lines are usage, not examples
        return
    text = path.read_text(encoding="utf-8")
    if relative(path) == "README.md":  # the bench's table is no command line, though its rows begin like one
        text = text.replace(generate.section(text, "figures"), "") if generate.figures() else text
    missing = {line: bad for line in code(text) if (bad := unknown_words(line))}
    assert missing == {}


def test_a_command_that_is_not_there_would_be_seen() -> None:
    assert unknown_words("umbridge ledger prove 7") == ["prove"]
    assert unknown_words("$ umbridge send FILE --loudly") == ["--loudly"]
    assert unknown_words(".venv/bin/umbridge ledger verify --level full") == []


NOT_BUILT = (
    "decide",
    "doctor",
)


def test_what_readme_calls_not_built_is_not_in_the_help() -> None:
    """When one of these lands, README's list is out of date: take it off both."""

    def names(command: click.Command) -> Iterator[str]:
        if isinstance(command, click.Group):
            for name, child in command.commands.items():
                yield name
                yield from names(child)

    assert set(names(umbridge)) & set(NOT_BUILT) == set()


def test_every_command_is_in_readmes_table() -> None:
    table = read("README.md").split("\n## Commands", 1)[1].split("\n## ", 1)[0]
    for name, command in umbridge.commands.items():
        if isinstance(command, click.Group):
            for child in command.commands:
                assert re.search(rf"`umbridge {name} .*\b{child}\b", table), f"umbridge {name} {child}"
        else:
            assert f"`umbridge {name}" in table, f"umbridge {name}"


def test_each_row_of_trust_names_a_test_that_exists() -> None:
    table = read("README.md").split("\n## Who could change history", 1)[1].split("\n## ", 1)[0]
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", table)
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 12 and all(re.search(r"`[\w/]+\.py", row) for row in rows)  # none without its test
    for held in (
        "database file",
        "our program",
        "signing key",
        "witnesses",
        "all of these",
        "encryption keys",
    ):
        assert any(held in row.split("|")[1] for row in rows), held
    for name, test in named:
        assert (ROOT / name).is_file(), name
        assert not test or f"def {test}(" in read(name), f"{name}::{test}"


def test_the_changelog_has_this_version() -> None:
    assert f"## {__version__}" in read("CHANGELOG.md")
