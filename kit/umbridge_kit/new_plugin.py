"""A new plugin's repository, written whole: content, vignettes and a test that pass before any edit.

The files are those of ``starter/``; what differs from one plugin to the next stands between @ signs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from umbridge_audit.entry import JsonValue

from umbridge.errors import ConfigError, UsageError

STARTER = Path(__file__).with_name("starter")
PLUGIN_GROUP, PACK_GROUP = "umbridge.criteria", "umbridge.packs"

# LOINC codes, display names and units of what the example reads.
_RESULTS: Mapping[str, tuple[str, str, str]] = {
    "resp_rate": ("9279-1", "Respiratory rate", "/min"),
    "sbp": ("8480-6", "Systolic blood pressure", "mm[Hg]"),
    "dbp": ("8462-4", "Diastolic blood pressure", "mm[Hg]"),
    "spo2": ("59408-5", "Oxygen saturation by pulse oximetry", "%"),
    "bun": ("3094-0", "Urea nitrogen", "mg/dL"),
}
_WELL = {"resp_rate": "18", "sbp": "124", "dbp": "76", "spo2": "96", "bun": "12"}
_CASES: tuple[tuple[str, str, dict[str, str | None], dict[str, JsonValue]], ...] = (
    (
        "V01",
        "19480510",
        {"resp_rate": "32", "bun": "28", "confused": "N"},
        {"outcome": "MEETS", "supported": "ACUTE", "missing": [], "scores": {"curb65": 3}},
    ),
    (
        "V02",
        "19860212",
        {"spo2": "88", "confused": "N"},
        {"outcome": "MEETS", "supported": "ACUTE", "missing": [], "scores": {"curb65": 0}},
    ),
    (
        "V03",
        "19860212",
        {"confused": "N"},
        {"outcome": "REFER", "supported": "HOME", "missing": [], "scores": {"curb65": 0}},
    ),
    (
        "V04",
        "19480510",
        {"resp_rate": "32", "bun": None, "confused": "N"},
        {"outcome": "PEND", "missing": ["bun"], "scores": {"curb65_min": 2, "curb65_max": 3}},
    ),
)


def write(parent: Path, name: str, *, code: bool) -> list[str]:
    """Make the repository ``parent/name``; returns its files. ``code``: with hooks of its own.

    Raises:
        UsageError: a name that cannot be a package's.
        ConfigError: there is something of that name already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name) or len(name) > 40:
        raise UsageError(f"{name}: expected up to 40 lower-case letters, digits, - and _, a letter first")
    package = name.replace("-", "_")
    root = parent / name
    if root.exists():
        raise ConfigError(f"{root}: is there already; nothing was changed")
    words = {
        "distribution": name.replace("_", "-"),
        "package": package,
        "group": PLUGIN_GROUP if code else PACK_GROUP,
    }
    files = {
        "pyproject.toml": _filled("pyproject.toml.in", words),
        "README.md": _filled("README.md.in", words),
        f"{package}/content/example.toml": _filled("example.toml.in", words),
        "tests/test_vignettes.py": _filled("test_vignettes.py.in", words),
    }
    if code:
        files[f"{package}/__init__.py"] = _filled("hooks.py.in", words)
    else:
        files[f"{package}/pack.toml"] = _filled("pack.toml.in", words)
    for case, birth, results, expected in _CASES:
        files |= _vignette(case, birth, results, {**expected, "plugin": package})
    for file, text in files.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return sorted(files)


def _vignette(
    case: str, birth: str, results: dict[str, str | None], expected: dict[str, JsonValue]
) -> dict[str, str]:
    words = {"case": f"ZZ{case}", "mrn": f"77990{case[1:]}", "family": f"EXAMPLE{case[1:]}", "birth": birth}
    given = {**_WELL, **results}
    confused = given.pop("confused")
    rows = [
        f"OBX|{i}|NM|{_RESULTS[fact][0]}^{_RESULTS[fact][1]}^LN||{value}|{_RESULTS[fact][2]}^^UCUM|||||F"
        "|||20260302091500"
        for i, (fact, value) in enumerate(given.items(), start=1)
        if value is not None
    ]
    rows.append(f"OBX|9|CWE|UMB-CONF^New confusion^99UMB||{confused}^^HL70136||||||F|||20260302091500")
    words["results"] = "\n".join(rows)
    files = {}
    for path in sorted((STARTER / "vignettes").glob("*.hl7")):
        files[f"vignettes/{case}/{path.name}"] = _filled(f"vignettes/{path.name}", words).replace("\n", "\r")
    whole = {
        "id": case,
        "kind": "review",
        "visit": f"VN{words['mrn']}",
        "review": "ADMISSION",
        "subset": "example_pneumonia",
        "requested": {"status": "INPATIENT", "level": "ACUTE"},
        "as_of": "2026-03-02T10:30:00-05:00",
        **expected,
    }
    files[f"vignettes/{case}/expected.json"] = json.dumps(whole, indent=1) + "\n"
    return files


def _filled(name: str, words: Mapping[str, str]) -> str:
    text = (STARTER / name).read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda found: words[found[1]], text)
