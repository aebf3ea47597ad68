"""ARCHITECTURE.md is held to the tree, and the tree to the habits of the house."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "umbridge",
    "audit/umbridge_audit",
    "kit/umbridge_kit",
    "plugins/interqual_like/umbridge_interqual_like",
    "plugins/mcg_like/umbridge_mcg_like",
    "plugins/two_midnight/umbridge_two_midnight",
)
LIMIT = 401  # a module has at most 400 lines: what a person reads in one sitting

# Longer modules, with the length each may have: one class each, of which nothing is taken out yet.
LONGER: dict[str, int] = {
    "audit/umbridge_audit/keys.py": 410,
    "umbridge/stay/course/telling.py": 430,
    "umbridge/stay/fold.py": 430,
    "umbridge/stay/orders/register.py": 430,
    "umbridge/stay/readings/window.py": 430,
    "umbridge/store/writer.py": 415,
}

# Words that say nothing about what a room is for.
BANNED = {"utils", "util", "helpers", "helper", "common", "base", "manager", "service", "core", "misc", "lib"}

TEXT = {".py", ".md", ".toml", ".txt", ".json", ".hl7", ".jsonl", ""}


def modules() -> list[Path]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(found) > 50
    return sorted(found)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> Iterator[tuple[str, str]]:
    """Every text file of the project as (path, text): what is under version control, or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git work tree: cannot tell the project's files from others")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix in TEXT:
            yield name, path.read_text(encoding="utf-8", errors="replace")


# --- the page and the tree ----------------------------------------------------------------------------


def drawn_tree() -> tuple[set[str], set[str]]:
    """(files, folders) that ARCHITECTURE.md draws: two spaces a level, a folder ends in a slash."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    block = page.split("<!-- tree:begin -->")[1].split("<!-- tree:end -->")[0]
    files: set[str] = set()
    folders: set[str] = set()
    above: list[str] = []
    for line in block.splitlines():
        if not line.strip() or line.startswith("```"):
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        name, _, purpose = line.strip().partition("  ")
        assert purpose.strip(), f"ARCHITECTURE.md: {name} has no line saying what it is for"
        del above[depth:]
        if name.endswith("/"):
            above.append(name[:-1])
            folders.add("/".join(above))
        else:
            files.add("/".join([*above, name]))
    return files, folders


def test_architecture_draws_exactly_the_modules_that_exist() -> None:
    drawn, _ = drawn_tree()
    there = {relative(path) for path in modules()}
    assert {name for name in drawn if name.endswith(".py")} == there


def test_architecture_draws_every_folder_with_code_in_it() -> None:
    _, drawn = drawn_tree()
    packages = {relative(path.parent) for path in modules()}
    packages |= {
        "audit",
        "kit",
        "plugins",
        "plugins/interqual_like",
        "plugins/mcg_like",
        "plugins/two_midnight",
    }
    top = {name.split("/")[0] for name, _ in tracked() if "/" in name}
    assert (packages | top) - drawn == set()


def test_whatever_else_architecture_draws_exists() -> None:
    files, folders = drawn_tree()
    assert [name for name in files | folders if not (ROOT / name).exists()] == []


# --- habits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_a_module_says_what_it_is_for_and_stays_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse('"""'.join([*source.split('"""', 2)[:2], ""])))  # no further
    assert docstring and docstring.splitlines()[0].strip(), "the first line says what the room is for"
    count = source.count("\n")
    assert count < LONGER.get(relative(path), LIMIT), f"{count} lines"


# --- a house that a newcomer finds the way in ---------------------------------------------------------

MODULES, ROOMS, LAYERS = (
    14,
    24,
    12,
)  # at most: in umbridge/ itself; to look at on the first two levels; of imports


def rooms() -> list[str]:
    """What lies open on the first two levels: the distributions' folders, and what is in umbridge/ itself."""
    inside = {path.relative_to(ROOT).parts[1] for path in (ROOT / "umbridge").rglob("*.py")}
    return sorted([*inside, "audit", "kit", "plugins", "bench"])


def test_there_are_few_rooms_and_few_layers() -> None:
    assert len(list((ROOT / "umbridge").glob("*.py"))) <= MODULES
    assert len(rooms()) <= ROOMS, rooms()
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][
        0
    ]["layers"]
    assert len(layers) <= LAYERS
    assert [each for each in layers if ":" in each] == [], "siblings do not know one another: | only"


# --- SQL at home --------------------------------------------------------------------------------------

STORES = ("umbridge/store/", "audit/umbridge_audit/store/")
SQL = re.compile(
    r"\s*(SELECT .+ FROM|SELECT \S*$|INSERT (OR \w+ )?INTO|UPDATE (OR \w+ )?\w+ SET|DELETE FROM"
    r"|REPLACE INTO|PRAGMA \w|(CREATE|DROP|ALTER) (UNIQUE |TEMP )*(TABLE|INDEX|TRIGGER|VIEW)"
    r"|BEGIN( IMMEDIATE| EXCLUSIVE)?$|ATTACH |VACUUM)",
    re.DOTALL,
)
REACHES = {"cursor", "execute", "executemany", "executescript", "exec_driver_sql", "driver_connection"}


def reaches(source: str) -> list[int]:
    """The lines on which a module holds a cursor, runs a statement or spells SQL."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if (isinstance(node, ast.Attribute) and node.attr in REACHES) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
        ):
            found.append(node.lineno)
    return found


def test_only_the_two_stores_touch_the_database() -> None:
    outside = [path for path in modules() if not relative(path).startswith(STORES)]
    found = {relative(path): reaches(path.read_text(encoding="utf-8")) for path in outside}
    told = {name: lines for name, lines in found.items() if lines}
    assert told == {}, "name an operation in the store"


@pytest.mark.parametrize(
    "planted",
    [
        "batch.cursor",
        "writer.call(lambda batch: stays.load(batch.cursor, ring, lane))",
        "connection.execute(question)",
        "raw.executemany(text, rows)",
        'KEEP = "INSERT INTO cosignature (size, line) VALUES (?, ?)"',
        'f"SELECT {columns} FROM inbox"',
        'x = "SELECT a" " FROM b"',
        '"UPDATE OR IGNORE lane_row SET lane = ?"',
        '"PRAGMA synchronous=OFF"',
        '"BEGIN IMMEDIATE"',
    ],
)
def test_a_module_that_reaches_for_the_database_is_found(planted: str) -> None:
    assert reaches(planted) != []


def test_words_are_not_taken_for_sql() -> None:
    for harmless in ('"Update the roster"', '"SELECTED"', '"a cursor"', '"Begin here"', "x.selected"):
        assert reaches(harmless) == []


def test_no_exemption_outlives_its_reason() -> None:
    assert [name for name in LONGER if (ROOT / name).read_text("utf-8").count("\n") < LIMIT] == []


def test_no_room_is_named_after_nothing() -> None:
    names = {part for path in modules() for part in path.relative_to(ROOT).with_suffix("").parts}
    assert names & BANNED == set()


def test_no_folder_is_deeper_than_four() -> None:
    assert [name for name, _ in tracked() if len(Path(name).parent.parts) > 4] == []


def test_importing_umbridge_is_light() -> None:
    """What a plugin's worker pays for, in a fresh interpreter: no SQL, no loop, no sockets, no ledger."""
    heavy = (
        "sqlalchemy sqlmodel sqlite3 pydantic asyncio socket ssl threading subprocess click hl7apy "
        "cryptography umbridge_audit"
    )
    script = (
        "import sys; before = set(sys.modules); from umbridge import *; "
        f"print(*sorted((set(sys.modules) - before) & set({heavy.split()!r})))"
    )
    # -S: the start-up of an editable install imports modules of its own, which would hide ours.
    places = [p for p in sys.path if p.endswith("site-packages")] + [str(ROOT)]
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path += {places!r}; {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == []


# Modules without a test file of their own name: where they are tested instead, and why there.
TESTED_IN = {
    "audit/umbridge_audit/against.py": "audit/tests/test_verify.py",
    "umbridge/screening/process.py": "tests/test_host.py",
    "umbridge/settings/parts.py": "tests/test_site.py",
    "umbridge/hl7/segment.py": "tests/test_er7.py",
    "umbridge/criteria/walk.py": "tests/test_tree.py",
    "umbridge/criteria/atoms.py": "tests/test_decision_diagram.py",
    "umbridge/values/kinds.py": "tests/test_worker.py",
    "umbridge/criteria/subset.py": "tests/test_content.py",
    "umbridge/lanes/underway.py": "tests/test_work.py",
    "umbridge/stay/stay.py": "tests/test_fold.py",
    "umbridge/commands/main.py": "tests/test_cli.py",
    "umbridge/commands/messages.py": "tests/test_cli.py",
    "umbridge/commands/ledger.py": "tests/test_cli.py",
    "umbridge/commands/send.py": "tests/test_cli.py",
    "kit/umbridge_kit/drawing.py": "plugins/interqual_like/tests/test_criteria.py",  # what the kit draws
    "umbridge/values/carers.py": "tests/test_practitioners.py",
    "umbridge/values/timings.py": "tests/test_order_times.py",
    "umbridge/review/worklist.py": "tests/test_worklist.py",  # lines, kept and made again
    "umbridge/store/worklist.py": "tests/test_worklist.py",  # the same, by due time, unit and payer
    "umbridge/lanes/commands.py": "tests/test_moves.py",  # what they write is what a run over files finds
    "umbridge/lanes/memory.py": "tests/test_moves.py",  # a daemon that remembers and one that restarted agree
    "umbridge/__init__.py": "tests/test_asking.py",  # it loads nothing until it is asked for a name
    # one end of a socket says little without the other
    "umbridge/access/control_client.py": "tests/test_control.py",
    "umbridge/criteria/frontdoor.py": "tests/test_asking.py",
    "umbridge/screening/why_codec.py": "tests/test_why.py",
    "umbridge/commands/why_tree.py": "tests/test_why.py",
    "umbridge/criteria/why_rows.py": "tests/test_why.py",
    "umbridge/review/aside.py": "tests/test_not_used.py",
    "umbridge/lanes/again.py": "tests/test_whydesk.py",
    "umbridge/stay/aside_words.py": "tests/test_not_used.py",
    "umbridge/values/row_state.py": "tests/test_docs.py",  # a list of words, held to docs/cli.md
    "umbridge/settings/file.py": "tests/test_asking.py",
    "umbridge/store/durability.py": "tests/test_store_host.py",  # what a start finds wrong with its place
    "umbridge/store/commands.py": "tests/test_store_contract.py",  # applied, as every store applies them
    "umbridge/store/operations.py": "tests/test_store_contract.py",  # what commands name
    "umbridge/store/reader.py": "tests/test_store_contract.py",  # what questions are asked of
    "umbridge/store/upkeep.py": "tests/test_search.py",  # tokens moved; the log in test_writer.py
    "umbridge/store/memory.py": "tests/test_store_contract.py",  # a rollback teaches it nothing
    "umbridge/store/settlement.py": "tests/test_quarantine.py",  # what a person does, through the door
    "umbridge/store/line.py": "tests/test_writer.py",  # who is written next, seen in what is written
    "umbridge/store/steps.py": "tests/test_ledger_attacks.py",  # A41: what a step does is an entry
    # it only answers what since.py asks
    "audit/umbridge_audit/store/history.py": "audit/tests/test_resume.py",
    "umbridge/errors.py": "tests/test_docs.py",  # a list of codes, held to the page of exit codes
    "umbridge/model.py": "tests/test_worker.py",  # values: crossing the wire is what they do
    "umbridge/hookspecs.py": "tests/test_docs.py",  # two signatures, held to docs/hooks.md
    "umbridge/hl7/charset.py": "tests/test_er7.py",  # the reader decodes; a codec alone says little
    "umbridge/hl7/delimiters.py": "tests/test_er7.py",  # the reader's own characters
    "umbridge/hl7/cover.py": "tests/test_translate.py",
    "umbridge/hl7/lines.py": "tests/test_cost.py",
    "umbridge/hl7/escapes.py": "tests/test_er7.py",  # every value goes through it
    "umbridge/hl7/address.py": "tests/test_er7.py",
    "umbridge/hl7/coding.py": "tests/test_er7.py",
    "umbridge/hl7/fields.py": "tests/test_translate.py",  # leaves on the way to an event
    "umbridge/hl7/moments.py": "tests/test_translate.py",  # the times of an event
    "umbridge/hl7/reading.py": "tests/test_translate.py",  # the same, with their notes
    "umbridge/hl7/results.py": "tests/test_translate.py",  # OBR and OBX on the way to an event
    "umbridge/hl7/triggers.py": "tests/test_ack.py",  # a list, held to the whole of table 0003
    "umbridge/hl7/tables.py": "tests/test_ack.py",  # held to hl7apy's tables, where they decide
    "umbridge/hl7/times.py": "tests/test_translate.py",  # every time is read on the way to an event
    "umbridge/criteria/content_file.py": "tests/test_content.py",  # one file of what content.py loads
    "umbridge/criteria/examination.py": "tests/test_tree.py",  # rules and their evaluation, by brute force
    # a kit is tested by its users
    "kit/umbridge_kit/testing.py": "plugins/interqual_like/tests/test_criteria.py",
    "audit/umbridge_audit/signing.py": "audit/tests/test_remote.py",  # the rules of both kinds of signer
    "audit/umbridge_audit/store/signed.py": "audit/tests/test_store.py",  # half of the writer
    # what the kit puts to them
    "kit/umbridge_kit/boundary_patients.py": "plugins/interqual_like/tests/test_criteria.py",
    "umbridge/criteria/truths.py": "tests/test_tree.py",  # the same rules, by the same brute force
    "umbridge/criteria/levels.py": "tests/test_pack.py",  # and plugins/interqual_like, which is no more
    "umbridge/criteria/joint_regions.py": "tests/test_decision_diagram.py",  # against a fine grid
    # the same diagram, read for its turns
    "umbridge/criteria/sensitivity.py": "tests/test_decision_diagram.py",
    "umbridge/criteria/compiled.py": "tests/test_tree.py",
    "umbridge/criteria/ruleset.py": "tests/test_tree.py",  # rules compiled, judged by the same brute force
    "umbridge/criteria/strict_file.py": "tests/test_content.py",  # the mistakes it refuses
    "umbridge/criteria/notation.py": "tests/test_content.py",  # how rules are written
    "umbridge/screening/frames.py": "tests/test_worker.py",  # what passes between host and worker, as bytes
    "umbridge/screening/case_codec.py": "tests/test_worker.py",  # the other way
    "umbridge/criteria/citing.py": "tests/test_worker.py",  # what of it comes back
    "umbridge/screening/answer_codec.py": "tests/test_worker.py",  # what passes between host and worker
    "umbridge/screening/discover.py": "tests/test_circuit_breaker.py",  # what is found is started there
    "kit/umbridge_kit/new_plugin.py": "tests/test_trial.py",  # what it writes is tried as it lies
    "umbridge/dryrun/vignettes.py": "tests/test_trial.py",  # the judge, through the command
    "umbridge/commands/plugins.py": "tests/test_trial.py",  # the commands themselves
    "umbridge/stay/anew.py": "tests/test_rereading.py",  # what it compares, before and after
    "umbridge/run/overview.py": "tests/test_store_host.py",  # its warnings
    "umbridge/commands/feed.py": "tests/test_feed_check.py",  # the same
    "umbridge/screening/link.py": "tests/test_host.py",  # a worker's misbehaviour is seen through the host
    "umbridge/access/breakglass.py": "tests/test_people.py",  # opened through the door, reviewed by people
    "umbridge/access/reports.py": "tests/test_people.py",  # asked of the same queries, by the same people
    "umbridge/access/ledger.py": "tests/test_registry.py",  # asked through the same registry
    "umbridge/access/messages.py": "tests/test_registry.py",  # asked through the same registry
    "umbridge/access/accounting.py": "tests/test_people.py",  # asked of the same queries, by the same people
    "umbridge/access/questions.py": "tests/test_views.py",  # every class of the registry, walked
    "umbridge/access/opened.py": "tests/test_registry.py",  # what queries make their rows from
    "umbridge/store/meta.py": "tests/test_keys.py",  # what keys, floods and second persons write there
    "umbridge/access/approval.py": "tests/test_keys.py",  # the acts that need two people
    "umbridge/commands/options.py": "tests/test_cli.py",  # options are seen through commands
    "umbridge/store/closing.py": "tests/test_acknowledging.py",
    "umbridge/stay/likely.py": "tests/test_site_draft.py",  # what it proposes is read there
    "umbridge/commands/stays.py": "tests/test_stays.py",  # the same
    "umbridge/commands/oversight.py": "tests/test_keys.py",  # commands, each run in the test of what it calls
    "umbridge/lanes/asking.py": "tests/test_waves_asked.py",  # two waves, in worker processes
    "umbridge/lanes/worker.py": "tests/test_worker_pool.py",  # a process, seen from the end that starts it
    "umbridge/stay/patient_index.py": "tests/test_identity.py",  # which stays, by events
    "umbridge/store/patient_index.py": "tests/test_moves.py",  # against the one in memory
    "umbridge/intake/tokens.py": "tests/test_moves.py",  # tokens, as the daemon is asked for them
    "umbridge/settings/authorities.py": "tests/test_facilities.py",  # each facility's, as its profile says
    "umbridge/stay/together.py": "tests/test_facilities.py",  # whose stays they are
    "umbridge/lanes/queue.py": "tests/test_moves.py",  # queues, as lanes join and part
    "umbridge/stay/payers.py": "tests/test_notices.py",  # which payers owe them
    "umbridge/stay/course/clocks.py": "tests/test_notices.py",  # what they rest on
    "umbridge/stay/clock.py": "tests/test_fold.py",  # midnights and instants in a stay
    "umbridge/stay/course/state.py": "tests/test_fold.py",  # the state that the fold's steps change
    "umbridge/stay/course/lost.py": "tests/test_events.py",  # reviews whose event was cancelled
    "umbridge/stay/course/status_rules.py": "tests/test_fold.py",  # orders and spans, in any order of arrival
    # what the order of telling makes of statements
    "umbridge/stay/course/happening.py": "tests/test_events.py",
    "umbridge/stay/course/occurred.py": "tests/test_events.py",  # when what is told took place
    "umbridge/stay/course/telling.py": "tests/test_events.py",  # which event a statement speaks of
    "umbridge/stay/course/timeline.py": "tests/test_events.py",  # the same in any order of arrival
    "umbridge/stay/course/triggers.py": "tests/test_fold.py",  # the fold's steps, in any order of arrival
    "umbridge/stay/person.py": "tests/test_fold.py",  # registers that the fold keeps
    "umbridge/stay/record.py": "tests/test_fold.py",  # the key that puts events in order
    "umbridge/hl7/orders.py": "tests/test_translate.py",  # orders are a part of a message
    "umbridge/hl7/timing.py": "tests/test_order_times.py",
    "umbridge/settings/spellings.py": "tests/test_values.py",  # what each part of the profile changes
    "umbridge/stay/results/counted.py": "tests/test_moment.py",  # in time, and as corrected since
    "umbridge/stay/readings/corrections.py": "tests/test_closing.py",  # what opens a closed review again
    "umbridge/stay/readings/cut.py": "tests/test_moment.py",  # what it leaves out of a review
    "umbridge/stay/readings/ends.py": "tests/test_bounds.py",  # every order and quotient of bounds
    "umbridge/stay/readings/assays.py": "tests/test_case.py",
    # what follows from bounds; test_case.py has numbers
    "umbridge/stay/readings/derived.py": "tests/test_bounds.py",
    "umbridge/stay/profile.py": "tests/test_values.py",  # slips in a profile, by their key
    "umbridge/stay/reasons.py": "tests/test_values.py",  # each reason is met by a case, and on the page
    "umbridge/stay/units.py": "tests/test_values.py",  # spelling by spelling
    # statements are read for the register
    "umbridge/stay/orders/order_statement.py": "tests/test_register.py",
    "umbridge/stay/orders/numbers.py": "tests/test_register.py",  # by which it finds them
    "umbridge/stay/orders/force.py": "tests/test_register.py",  # what the register comes to
    "umbridge/stay/orders/treatment_spans.py": "tests/test_order_times.py",
    "umbridge/stay/orders/grouped.py": "tests/test_order_groups.py",
    "umbridge/stay/results/by_time.py": "tests/test_facts.py",  # results in the order of their own times
    "umbridge/stay/results/result_list.py": "tests/test_account.py",  # accounts, many of them
    "umbridge/stay/results/kinship.py": "tests/test_likeness.py",  # which names are looked at together
    "umbridge/stay/results/one_value.py": "tests/test_account.py",
    "umbridge/stay/results/upright.py": "tests/test_account.py",  # what an account holds
    "umbridge/stay/results/findings.py": "tests/test_synonyms.py",
    "umbridge/stay/results/placed.py": "tests/test_facts.py",  # the windows over results
    "umbridge/stay/results/unfound.py": "tests/test_likeness.py",
    "umbridge/stay/results/thread.py": "tests/test_likeness.py",  # accounts under names that may be one
    "umbridge/stay/results/statements.py": "tests/test_account.py",  # what accounts are made of
    "umbridge/stay/view.py": "tests/test_fold.py",  # what a fold looks like from outside
    "umbridge/stay/orders/one_order.py": "tests/test_register.py",  # the orders of a stay are made of them
    "umbridge/stay/orders/shelf.py": "tests/test_register.py",
    "umbridge/stay/orders/ties.py": "tests/test_register.py",
    "umbridge/stay/orders/ordinary.py": "tests/test_register.py",
    "umbridge/stay/readings/prevailing.py": "tests/test_case.py",
    "umbridge/stay/readings/window.py": "tests/test_case.py",  # windows are what a case is made of
    "umbridge/review/plan.py": "tests/test_review.py",  # the room's name
    "umbridge/review/afterwards.py": "tests/test_late.py",  # by what plugins support
    "umbridge/review/schedule.py": "tests/test_review.py",  # on which days its reviews open
    "umbridge/store/tables.py": "tests/test_store_host.py",  # declarations, and the same as SQL
    "umbridge/store/engine.py": "tests/test_faults.py",  # durability, with kills
    "umbridge/store/inbox.py": "tests/test_faults.py",  # nothing lost, nothing twice, with kills
    "umbridge/store/batch.py": "tests/test_writer.py",  # the duplicate rule, through the writer
    "umbridge/store/counters.py": "tests/test_endtoend.py",  # status counts against the rows
    "umbridge/store/refusals.py": "tests/test_listener.py",  # counted frames
    "umbridge/store/numbered.py": "tests/test_by_number.py",  # the rule in memory against it
    "umbridge/hl7/numbered.py": "tests/test_by_number.py",
    "umbridge/stay/besides.py": "tests/test_by_number.py",
    "umbridge/store/stays.py": "tests/test_faults.py",  # snapshots survive kills
    "umbridge/store/opening.py": "tests/test_faults.py",  # every restart
    "umbridge/run/reload.py": "tests/test_tls.py",  # a daemon is sent SIGHUP with good files and bad
    "umbridge/lanes/pipeline.py": "tests/test_daemon.py",  # every stranger's message, and its state
    "audit/umbridge_audit/importguard.py": "tests/test_importguard.py",  # the daemon's text, and its scripts
    "audit/umbridge_audit/bundle.py": "audit/tests/test_export.py",  # what export writes
    "audit/umbridge_audit/cli.py": "audit/tests/test_export.py",  # umbridge-verify on bundles
    "audit/umbridge_audit/examine.py": "audit/tests/test_attacks.py",  # verdicts, attack by attack
    "audit/umbridge_audit/seal.py": "audit/tests/test_vectors.py",  # the published vectors
    "audit/umbridge_audit/slots.py": "audit/tests/test_vectors.py",  # SPEC's table and example
    "audit/umbridge_audit/store/tables.py": "audit/tests/test_store.py",  # the room's name
    "audit/umbridge_audit/store/made.py": "audit/tests/test_store.py",  # every ledger is made by it
    "audit/umbridge_audit/store/rows.py": "audit/tests/test_store.py",  # the room's name
    "audit/umbridge_audit/store/reread.py": "audit/tests/test_store.py",  # held against the long way
    "audit/umbridge_audit/policy.py": "audit/tests/test_checkpoint.py",  # policies and anchors, read strictly
    "audit/umbridge_audit/heads.py": "audit/tests/test_witness.py",  # what a witness goes on from
    "audit/umbridge_audit/submit.py": "audit/tests/test_witness.py",  # over the wire
    "audit/umbridge_audit/report.py": "audit/tests/test_attacks.py",  # verdicts, attack by attack
    "audit/umbridge_audit/store/subtrees.py": "audit/tests/test_proof.py",  # where proofs come from
    "audit/umbridge_audit/store/receipts.py": "tests/test_registry.py",  # a question like any other
    "audit/umbridge_audit/store/ledger.py": "audit/tests/test_store.py",  # the room's name
}


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_every_module_is_tested_somewhere(path: Path) -> None:
    name = relative(path)
    if name.startswith("plugins/"):  # a vendor's repository has its tests beside its package
        assert (path.parents[1] / "tests/test_criteria.py").is_file()
        return
    if path.name == "__init__.py" and name not in TESTED_IN:
        source = path.read_text(encoding="utf-8")
        assert "def " not in source, "a package's own file holds a name and imports"
        return
    folder = "audit/tests" if name.startswith("audit/") else "tests"
    own = ROOT / folder / f"test_{path.stem}.py"
    assert own.is_file() or (ROOT / TESTED_IN[name]).is_file()


def test_no_module_is_excused_that_has_gone() -> None:
    assert set(TESTED_IN) - {relative(path) for path in modules()} == set()


def test_the_page_draws_the_layers_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [set(re.findall(r"\w+", layer)) for layer in contracts[0]["layers"]]
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    drawn = page.split("## Direction", 1)[1].split("```")[1].split("\nstore, access", 1)[0]
    assert [set(re.findall(r"\w+", part)) for part in drawn.split("→")] == layers


# Modules whose names are loaded from text; nothing else may be, or the import contracts would not see it.
BY_NAME = {
    "umbridge/screening/worker.py",  # the plugin, inside its own process
    "umbridge/hl7/dictionary.py",  # hl7apy's tables of one version, when they are asked for
}


def test_modules_are_loaded_by_name_in_two_places_only() -> None:
    found = {
        relative(path)
        for path in modules()
        if re.search(r"import_module\(|__import__\(", path.read_text(encoding="utf-8"))
    }
    assert found == BY_NAME


@pytest.mark.parametrize(
    ("call", "homes"),
    [
        ("socket.create_server", ["umbridge/intake/listener.py"]),
        ("asyncio.start_server", ["umbridge/intake/peer.py"]),
        ("asyncio.open_connection", ["umbridge/intake/delivery.py"]),
        ("asyncio.start_unix_server", ["umbridge/access/control.py"]),
        ("socket.socketpair", ["umbridge/lanes/worker_pool.py", "umbridge/screening/process.py"]),
    ],
)
def test_each_kind_of_socket_has_its_home(call: str, homes: list[str]) -> None:
    assert [relative(path) for path in modules() if call in path.read_text(encoding="utf-8")] == homes


# Every call that makes plaintext of what is sealed. Some are methods, and looked for by their name alone;
# those whose name others use too are looked for with the module that they come from.
DECRYPTS = {
    *("reveal", "openings", "openings_within", "open_part", "unseal", "unwrap", "take_receipt", "entry_line"),
    *("open_row", "open_leniently", "lane_rows", "open_line"),
    *("disclose.view", "inbox.row", "inbox.page", "stays.load", "export.export", "deidentify.statement"),
}
# The same inside a command, by the name that the transaction has everywhere.
ASKED = {"tx.row", "tx.stay"}
# What a reader opens, whatever the name that ``with writer.reading() as reader`` gives it.
READS_IT = "with reading(): …"
READS = {"row", "rows", "lane_rows", "folded_rows", "stay"}
# Who may, function by function, and why there.
OPENS = {
    "audit/umbridge_audit/disclose.py": {
        "view": "what the door shows of an entry, once the look is on the ledger",
        "openings_within": "the same, decrypting no compartment that is hidden",
    },
    "audit/umbridge_audit/export.py": {
        "export": "a bundle, whose own entry carries its digest",
        "_tail": "the same",
        "entry_line": "one line of it",
        "schema_slot": "slot 0, which is open",
    },
    "audit/umbridge_audit/deidentify.py": {"statement": "the Safe Harbor file, as an export"},
    "audit/umbridge_audit/examine.py": {"examine": "the full level of verification: compares, shows nothing"},
    "audit/umbridge_audit/kek.py": {"*": "unwraps keys"},
    "audit/umbridge_audit/keys.py": {"*": "the key ring itself"},
    "audit/umbridge_audit/seal.py": {"*": "the cipher itself"},
    "audit/umbridge_audit/store/rows.py": {"*": "what the door reads through"},
    "audit/umbridge_audit/store/receipts.py": {"take_receipt": "one line of a bundle, after its look"},
    "umbridge/access/backup.py": {"_unseal": "opens a sealed copy to verify it, shows nothing"},
    "umbridge/store": {"*": "rows and stays, for the lane and for the door"},
    "umbridge/lanes/pipeline.py": {"*": "a lane is worked"},
    "umbridge/lanes/memory.py": {"*": "the same"},
    "umbridge/access/worklist.py": {
        "lines": "lines of the worklist, after its look",
        "_remake": "the list made again from the stays; nothing is shown",
        "_events": "the same",
    },
    "umbridge/lanes/rereading.py": {"_is_behind": "the rules a stay stands under, no more"},
    "umbridge/intake/registration.py": {
        "_page": "a page of rows: their numbers are looked for, nothing is shown"
    },
    "umbridge/access/quarantine.py": {
        "_check": "a row is worked again: its numbers are looked for, nothing is shown"
    },
    "umbridge/access/opened.py": {
        "determination": "a determination, to be given again and held to what is written; not shown",
        "spoken_of": "which entries are one review's: numbers leave it, nothing that was opened",
        "message": "a message, for a question whose look is on the ledger",
        "messages": "all of them, the same",
        "stay": "a stay, the same",
        "messages_of": "its messages, the same",
        "found": "rows of a search, for a question whose look is on the ledger",
        "entry": "an entry as the gate shows it, the same",
        "whole": "slots to count by, the same",
        "bundle": "a bundle, the same",
        "safe_harbor": "the Safe Harbor file, the same",
        "receipt": "a receipt, the same",
        "visit_of": "whose record the entry of a look is about; not shown",
    },
}


@dataclass
class Opening:
    """One call that makes plaintext: in which module and function, and what is called."""

    module: str
    function: str
    call: str


def openings(source: str, module: str) -> list[Opening]:
    """Every call of ``DECRYPTS`` in a module, and every mention of one as a value to be called later."""
    tree = ast.parse(source)
    imported = {  # what a name of this module stands for, as "module.name" or as a module
        name.asname or name.name: (name.name, f"{(node.module or '').rpartition('.')[2]}.{name.name}")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    readers = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name)
        and isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Attribute)
        and item.context_expr.func.attr in ("reading", "take")
    }
    found: list[Opening] = []

    def names(node: ast.AST) -> set[str]:
        if isinstance(node, ast.Name):
            return {node.id, *imported.get(node.id, ())}
        if isinstance(node, ast.Attribute):
            before = node.value.id if isinstance(node.value, ast.Name) else ""
            if before in readers and node.attr in READS:
                return {node.attr, READS_IT}
            return {node.attr, f"{imported.get(before, (before,))[0]}.{node.attr}"}
        return set()

    def walk(node: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            inside = function
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not function:
                inside = child.name
            if name := names(child) & {*DECRYPTS, *ASKED, READS_IT}:
                found.append(Opening(module, inside, min(name)))
            walk(child, inside)

    walk(tree, "")
    return found


def test_plaintext_is_made_only_by_those_who_may() -> None:
    """Whatever is sealed is opened behind the door, where a lane is worked, or where nothing is shown."""
    whole = {module for module, those in OPENS.items() if "*" in those}
    found = {
        (one.module, one.function)
        for path in modules()
        for one in openings(path.read_text(encoding="utf-8"), relative(path))
        if not whole & {one.module, one.module.rpartition("/")[0]}
    }
    assert found == {(name, function) for name in OPENS.keys() - whole for function in OPENS[name]}


@pytest.mark.parametrize("call", sorted(DECRYPTS))
@pytest.mark.parametrize(
    "way",
    [
        "def peek():\n    return {call}(1)",
        "def peek():\n    return list(map({call}, rows))",
        "peek = lambda batch: {call}(batch)",
        "class Desk:\n    def peek(self):\n        def work(batch):\n            return {call}(batch)\n",
    ],
)
def test_a_call_past_the_door_is_found_however_it_is_spelt(call: str, way: str) -> None:
    room, _, name = call.rpartition(".")
    spellings = [f"from umbridge.store.{room or 'inbox'} import {name}\n" + way.format(call=name)]
    if room:
        spellings.append(f"from umbridge.store import {room} as other\n" + way.format(call=f"other.{name}"))
    else:
        spellings.append(way.format(call=f"self._pen.ledger.{name}"))
    for source in spellings:
        (one,) = openings(source, "umbridge/planted.py")
        assert (one.function, one.call) == ("" if "lambda" in way else "peek", call)


@pytest.mark.parametrize("call", sorted(ASKED))
def test_a_command_that_opens_is_found(call: str) -> None:
    (one,) = openings(f"def apply(self, tx):\n    return {call}(1)", "umbridge/planted.py")
    assert (one.function, one.call) == ("apply", call)


@pytest.mark.parametrize("read", sorted(READS))
def test_a_reader_that_opens_is_found_whatever_it_is_called(read: str) -> None:
    source = f"def peek(writer):\n    with writer.reading() as eyes:\n        return eyes.{read}(1)"
    assert [(one.function) for one in openings(source, "umbridge/planted.py")] == ["peek"]
    assert openings(source.replace(read, "has_row"), "umbridge/planted.py") == []


# Spelled in two parts so that this file is not the one it looks for.
WORKSHOP = ("farm" + "-studio",)
REFERENCE = ".." + "/shared"


def test_no_file_knows_the_workshop() -> None:
    assert [name for name, text in tracked() if any(word in text.lower() for word in WORKSHOP)] == []


def test_only_tests_know_the_shared_material() -> None:
    def is_test(name: str) -> bool:
        return "tests/" in name

    assert [name for name, text in tracked() if REFERENCE in text and not is_test(name)] == []


# --- words ---------------------------------------------------------------------------------------------

# Names that mislead or that only we knew, and the field's own. A name of the left in code turns this red.
WORDS = {
    "Claim": "Origin (a claim is a bill)",
    "Caseworker|CaseworkerLostError|Casework": "LaneWorker, StayWork (a caseworker is a person)",
    "Office": "WorkerPool",
    r"\w*Desk": "queries, by their noun",
    "Conduct": "CircuitBreaker",
    "Pen|hold_pen|take_pen": "Writer, hold_writer, open_writer",
    "Turns|Offered": "LaneQueue, QueuedRow",
    "Spelt|Namer": "EncodedDraft, Tokens",
    "CROWD|CROWD_SECONDS|LINE_SECONDS|WORDINGS_KEPT": "BURST, YIELD, HEADERS_KEPT",
    "Sweeper|Swept|recheck": "FastCheck, FastChecked, read_back",
}


def names_of(source: str) -> set[str]:
    """Every name that a module defines, uses or imports; words in texts are no names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found |= {*name.split("."), *([other] if other else [])}
    return found


def test_things_have_the_fields_names() -> None:
    wrong = re.compile("|".join(f"(?:{word})" for word in WORDS))
    found = {
        relative(path): {n for n in names_of(path.read_text("utf-8")) if wrong.fullmatch(n)}
        for path in modules()
    }
    assert {name: words for name, words in found.items() if words} == {}, WORDS
    assert wrong.fullmatch("StayDesk") and not wrong.fullmatch("desktop")
