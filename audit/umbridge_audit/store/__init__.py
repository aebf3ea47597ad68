"""The ledger in SQLite: the writer that appends and signs, and the read-only view. All SQL is here."""

from umbridge_audit.store.ledger import Ledger, utc_now
from umbridge_audit.store.made import TABLES, create_tables, transaction
from umbridge_audit.store.rows import Broken, LedgerError, Reader, Rollback, Rows, open_readonly
from umbridge_audit.store.signed import Due

__all__ = [
    "TABLES",
    "Broken",
    "Due",
    "Ledger",
    "LedgerError",
    "Reader",
    "Rollback",
    "Rows",
    "create_tables",
    "open_readonly",
    "transaction",
    "utc_now",
]
