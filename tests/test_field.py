"""Every situation that people who run interfaces reported has its test (``../shared/field``).

Kinds 1 to 7 are held by ``test_field_k1`` to ``_k7``, each case beside its name. What is of no such kind is
held where its subject is.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
KINDS = {
    "k1": ("F01", "F02", "F03", "F04", "F05", "F06", "F10", "F33"),
    "k2": ("F11", "F12", "F13", "F14", "F15"),
    "k3": ("F16", "F17"),
    "k4": ("F19", "F20"),
    "k5": ("F21", "F22", "F23", "F24", "F34"),
    "k6": ("F07", "F08", "F09", "F32"),
    "k7": ("F25", "F26", "F27", "F30", "F31"),
}
#: A review that stays closed, what is hidden and looked empty, and how the store is kept.
ELSEWHERE = {"F18", "F28", "F29", "F35", "F36"}


def test_every_situation_is_of_a_kind_or_held_elsewhere(shared: Path) -> None:
    held = {number for numbers in KINDS.values() for number in numbers} | ELSEWHERE
    assert {folder.name[:3] for folder in (shared / "field").iterdir() if folder.is_dir()} == held


def test_every_case_of_every_kind_is_asserted_beside_its_name(shared: Path) -> None:
    for kind, numbers in KINDS.items():
        source = (HERE / f"test_field_{kind}.py").read_text("utf-8")
        for number in numbers:
            (folder,) = (shared / "field").glob(f"{number}_*")
            assert folder.name in source, folder.name
            for case in folder.iterdir():
                named = f'"{case.name}"' in source or f"{folder.name}/{case.name}" in source
                assert named or case.name == "expected.txt", f"{folder.name}/{case.name}"
