"""A ledger to break: a real store, real keys, invented patients."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings
from umbridge_audit.checkpoint import read_anchor
from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft, JsonValue, Receipt
from umbridge_audit.examine import Level
from umbridge_audit.export import export
from umbridge_audit.keys import Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.redact import AccessTable
from umbridge_audit.store import TABLES, Ledger, open_readonly, transaction
from umbridge_audit.verify import Report, verify

HERE = Path(__file__).parent

# No test is timed, and no example either: on a busy machine one may take seconds.
settings.register_profile("umbridge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("umbridge")


def beside(name: str) -> ModuleType:
    """A module that lies beside the tests (pytest's importlib mode puts no folder on the path)."""
    full = f"umbridge_audit_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    return beside("oracle")


@pytest.fixture(scope="session")
def dying() -> ModuleType:
    made = beside("dying")
    if not made.can_trace():
        pytest.skip("ptrace is not to be had here (or not x86-64): no crash was tried at any system call")
    return made


@pytest.fixture(scope="session")
def make_vectors() -> ModuleType:
    return beside("make_vectors")


@pytest.fixture(scope="session")
def mutation() -> ModuleType:
    return beside("mutants")


@pytest.fixture(scope="session")
def spec_text() -> str:
    return (HERE.parent / "SPEC.md").read_text()


CANARIES = ("ZZTEST-MRN-4711", "ZZTEST-VISIT-0815", "ZZTEST rationale pneumonia", "ZZTEST-TAG")


def message(n: int) -> Draft:
    values: dict[str, JsonValue] = {
        "actor": "umbridge",
        "feed": "adt",
        "state": "PENDING",
        "row": n,
        "control_id": f"ZZTEST{n:06}",
        "message_type": "ADT^A01",
        "sender": "REG|GENHOSP",
        "version": "2.5.1",
        "digest": "ab" * 32,
        "ack": "AA",
    }
    return Draft("message.received", values)


def determination(n: int) -> Draft:
    values: dict[str, JsonValue] = {
        "actor": "umbridge",
        "state": "FINAL",
        "row": n,
        "plugin": "interqual_like",
        "review": "ADMISSION",
        "visit": CANARIES[1],
        "mrn": CANARIES[0],
        "outcome": "MEETS",
        "missing": [],
        "rationale": CANARIES[2],
        "evidence": [{"fact": "bun", "value": "28", "at": "2026-03-02T22:40:00-05:00"}],
        "scores": {"CURB-65": 3},
        "payer_class": "MEDICARE_FFS",
        "tags": [CANARIES[3]],
    }
    return Draft("determination", values)


class Lab:
    """A store with its keys and anchor in one folder; copies of it may be broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = folder / "store" / "umbridge.db"
        self.anchor = folder / "anchor" / "ledger.anchor"
        self.keys = folder / "keys"
        self.connection = self.connect()
        self.policy: Policy

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.db, check_same_thread=False)

    @classmethod
    def make(cls, folder: Path) -> Lab:
        (folder / "store").mkdir(parents=True)
        (folder / "anchor").mkdir()
        self = cls(folder)
        self.keyring = Keyring.create(self.keys)
        self.ledger = Ledger.create(
            self.connection,
            self.keyring,
            org="genhosp",
            chain="adt-1",
            facility="GENHOSP",
            software="umbridge test",
            anchor=self.anchor,
        )
        self.policy = Policy.read(self.ledger.policy_text())
        return self

    def write(self, *drafts: Draft) -> list[Receipt]:
        with transaction(self.connection):
            return self.ledger.append(drafts)

    def commit(self, draft: Draft) -> Receipt:
        return self.write(draft)[0]

    def reopen(self) -> None:
        self.connection.close()
        self.connection = self.connect()
        self.keyring = Keyring.open(self.keys)
        self.ledger = Ledger.open(self.connection, self.keyring, anchor=self.anchor)

    def copy(self, folder: Path) -> Lab:
        """The same ledger elsewhere, closed, to be broken."""
        shutil.copytree(self.folder, folder)
        twin = Lab(folder)
        twin.connection.close()
        twin.policy = self.policy
        return twin

    def sql(self, *statements: str | tuple[str, tuple[object, ...]]) -> None:
        """Changes the file behind the ledger's back, triggers gone."""
        db = sqlite3.connect(self.db)
        db.execute("PRAGMA ignore_check_constraints = 1")
        for table in TABLES:
            for verb in ("update", "delete"):
                db.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}")
        for statement in statements:
            if isinstance(statement, str):
                db.execute(statement)
            else:
                db.execute(*statement)
        db.commit()
        db.close()

    def value(self, sql: str) -> object:
        db = sqlite3.connect(self.db)
        found: object = db.execute(sql).fetchone()[0]
        db.close()
        return found

    def verify(
        self, level: Level = "keyless", *, anchored: bool = True, policy: Policy | None = None, jobs: int = 1
    ) -> Report:
        notes = read_anchor(self.anchor) if anchored else []
        keyring = Keyring.open(self.keys) if level == "full" else None
        with open_readonly(self.db) as source:
            return verify(
                source, policy or self.policy, level=level, keyring=keyring, anchor_notes=notes, jobs=jobs
            )

    def close(self) -> None:
        self.connection.close()


@pytest.fixture(name="message", scope="session")
def _message() -> Callable[[int], Draft]:
    return message


@pytest.fixture(name="determination", scope="session")
def _determination() -> Callable[[int], Draft]:
    return determination


@pytest.fixture(scope="session")
def external() -> Callable[[Lab, Path], Path]:
    """Writes a bundle for somebody from outside, who sees hashes alone."""

    def take(lab: Lab, out: Path) -> Path:
        who = Viewer("zztest-os", "zztest-user", ("external_auditor",), "os-account")
        table = AccessTable.load()
        export(
            lab.ledger,
            table.permission(who.roles, "HCOMPL"),
            table,
            viewer=who,
            purpose="HCOMPL",
            reason="",
            profile="integrity-only",
            out=out,
            commit=lab.commit,
            checkpoint=lab.ledger.checkpoint,
        )
        return out

    return take


@pytest.fixture
def canaries() -> tuple[str, ...]:
    return CANARIES


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A fresh ledger with nothing but its first entries."""
    made = Lab.make(tmp_path / "lab")
    yield made
    made.close()


@pytest.fixture(scope="session")
def full_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A ledger with four checkpoints, never changed: tests break copies of it."""
    made = Lab.make(tmp_path_factory.mktemp("full") / "lab")
    for block in range(3):
        made.write(*(message(10 * block + n) for n in range(4)), determination(10 * block))
        made.ledger.checkpoint()
    yield made
    made.close()


@pytest.fixture(scope="session")
def long_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Nearly nine hundred entries: three complete runs of 256 and a rest, signed in uneven steps."""
    made = Lab.make(tmp_path_factory.mktemp("long") / "lab")
    for block in (1, 200, 70, 350, 260):
        made.write(*(message(n) for n in range(block)))
        made.ledger.checkpoint()
    yield made
    made.close()
