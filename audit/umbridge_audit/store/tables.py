"""The ledger's tables, append-only.

SQLModel classes say what the tables are; a ledger is made from them (``made.create_tables``), and a ledger
that is opened is not: loading SQLModel takes longer than opening. SPEC.md section 10.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

from sqlalchemy import CheckConstraint, Column, Integer, LargeBinary, MetaData, Text
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.schema import CreateTable
from sqlmodel import Field, SQLModel


class _Table(SQLModel):
    metadata = MetaData()  # our own: another package's create_all must not make these without their triggers


class LedgerEntry(_Table, table=True):
    """One entry; every column is covered by the leaf's hash or the leaf's ``fields``."""

    __tablename__ = "ledger_entry"
    __table_args__: ClassVar = (CheckConstraint("seq >= 0"), {"sqlite_strict": True})
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    leaf: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    open: str = Field(sa_column=Column(Text, nullable=False))
    closed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LedgerPart(_Table, table=True):
    """One compartment's ciphertext; its hash is in the leaf."""

    __tablename__ = "ledger_part"
    __table_args__: ClassVar = ({"sqlite_strict": True},)
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    c: str = Field(sa_column=Column(Text, primary_key=True))
    ct: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LedgerCheckpoint(_Table, table=True):
    """One signed note; the signature covers all of it."""

    __tablename__ = "ledger_checkpoint"
    __table_args__: ClassVar = ({"sqlite_strict": True},)
    n: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    note: str = Field(sa_column=Column(Text, nullable=False))


class Subtree(_Table, table=True):
    """The hash of one complete subtree: no evidence, and made again from the leaves when it is wrong."""

    __tablename__ = "subtree"
    __table_args__: ClassVar = ({"sqlite_strict": True, "sqlite_with_rowid": False},)
    level: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    n: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class ChainHead(_Table, table=True):
    """Where the chain ends, in the transaction that took it there: no evidence, and held against the rows."""

    __tablename__ = "chain_head"
    __table_args__: ClassVar = ({"sqlite_strict": True},)
    n: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))  # 0: there is one
    size: int = Field(sa_column=Column(Integer, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    frontier: bytes = Field(sa_column=Column(LargeBinary, nullable=False))  # complete subtrees, largest first
    ts: str = Field(sa_column=Column(Text, nullable=False))  # of the last entry


class Cosignature(_Table, table=True):
    """A witness's signature line over the checkpoint of one size: evidence of the witness's, not of ours."""

    __tablename__ = "cosignature"
    __table_args__: ClassVar = ({"sqlite_strict": True, "sqlite_with_rowid": False},)
    size: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    line: str = Field(sa_column=Column(Text, primary_key=True))


@cache
def statements() -> tuple[str, ...]:
    """What makes the tables, in order, each statement in one line."""
    made = (CreateTable(table).compile(dialect=dialect()) for table in _Table.metadata.sorted_tables)
    return tuple(" ".join(str(each).split()) for each in made)
