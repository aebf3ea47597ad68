"""Write ``umbridge/store/tables.sql`` from the table classes: what a start holds a store against."""

from __future__ import annotations

from umbridge.store.engine import SHAPE
from umbridge.store.tables import statements


def text() -> str:
    return "".join(f"{statement};\n" for statement in statements())


if __name__ == "__main__":
    SHAPE.write_text(text(), encoding="utf-8")
