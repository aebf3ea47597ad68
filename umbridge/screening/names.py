"""What a plugin may be called, and what else its distribution may declare. Each problem is told to people.

A plugin's name becomes a folder, a key of the ledger and a word on a terminal. A package's name says who
imports it: a program that asks for a module of that name in this environment would get the plugin's.
"""

from __future__ import annotations

import re
import sys

from umbridge.hookspecs import ENTRY_POINT_GROUP, PACK_GROUP
from umbridge.importguard import ABSENT

GROUPS = (ENTRY_POINT_GROUP, PACK_GROUP)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DOTTED = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
_VALUE = re.compile(rf"{_DOTTED}( *: *{_DOTTED})?")

OURS = frozenset({"umbridge", "umbridge_audit", "pluggy"})
AT_START = frozenset({"sitecustomize", "usercustomize"})  # imported by every Python that starts
# What umbridge depends on, directly or not, by import name; SQLAlchemy uses greenlet where there is one.
DEPENDENCIES = frozenset(
    {"_cffi_backend", "annotated_types", "cffi", "click", "cryptography", "greenlet", "hl7apy", "pycparser"}
    | {"pydantic", "pydantic_core", "sqlalchemy", "sqlmodel", "typing_extensions", "typing_inspection"}
)


def top_of(value: str) -> str:
    """The top-level module in an entry point's value."""
    return value.partition(":")[0].strip().partition(".")[0]


def name_problem(name: str) -> str:
    """What is wrong with a plugin's name; "" where nothing is."""
    if _NAME.fullmatch(name):
        return ""
    return f"the name {name!a}: expected up to 63 lower-case letters, digits and _, a letter first"


def value_problem(value: str) -> str:
    """What is wrong with an entry point's value, or with the package it names; "" where nothing is."""
    if not _VALUE.fullmatch(value):
        return f"the entry point {value!a}: expected a module, or module:object"
    top = top_of(value)
    if top.lower() in OURS | DEPENDENCIES:
        return f"{top}: the name of a package that umbridge itself consists of or imports; choose another"
    if top.lower() in AT_START:
        return f"{top}: runs code whenever any Python starts"
    if top in sys.stdlib_module_names or top.lower() in ABSENT:
        return f"{top}: a name that Python's own library imports; choose another"
    return ""


def group_problem(group: str, name: str) -> str:
    """What is wrong with an entry point beside the plugin's own; "" where nothing is."""
    if group in GROUPS:
        return ""
    if group in ("console_scripts", "gui_scripts"):
        return f"makes the script {name}; a plugin has none"
    return f"an entry point in the group {group}: whoever loads that group would run it outside the sandbox"
