"""What a plugin consists of: a changed byte is seen, and what could run outside the worker refused."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umbridge.screening import package
from umbridge.screening.package import ChangedError, Package, digest_of, examine, kept

POINTS = b"[umbridge.criteria]\nzz = zz_pkg\n"
FILES = {
    "zz_pkg/__init__.py": b"x = 1\n",
    "zz_pkg/content/a.toml": b"format = 1\n",
    "zz_pkg-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: zz-pkg\nVersion: 1.0\n",
    "zz_pkg-1.0.dist-info/entry_points.txt": POINTS,
}


def install(place: Path, files: dict[str, bytes], record: list[str] | None = None) -> EntryPoint:
    """A distribution as pip leaves it; its entry point."""
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    info = place / "zz_pkg-1.0.dist-info"
    (info / "INSTALLER").write_text("zz\n")
    names = (
        [*files, "zz_pkg-1.0.dist-info/RECORD", "zz_pkg-1.0.dist-info/INSTALLER"]
        if record is None
        else record
    )
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    (entry,) = (e for e in PathDistribution(info).entry_points if e.group == "umbridge.criteria")
    return entry


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def problems(found: Package, word: str) -> bool:
    return any(word in problem for problem in found.problems)


def test_an_ordinary_wheel_has_a_digest_and_no_problem(place: Path) -> None:
    found = examine(install(place, FILES))
    assert found.problems == ()
    assert not found.editable
    assert (found.plugin, found.entry, found.distribution, found.version) == ("zz", "zz_pkg", "zz-pkg", "1.0")
    lines = sorted((name.replace("zz_pkg-1.0.dist-info", "dist-info"), data) for name, data in FILES.items())
    whole = b"umbridge plugin/1\n" + b"".join(
        f"{hashlib.sha256(data).hexdigest()} {len(data)} {name}\n".encode() for name, data in lines
    )
    assert found.digest == "sha256:" + hashlib.sha256(whole).hexdigest()


@given(st.sampled_from(sorted(FILES)), st.integers(0, 10**6), st.integers(1, 255))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_changed_byte_is_another_digest(place: Path, name: str, at: int, flip: int) -> None:
    before = examine(install(place, FILES)).digest
    data = bytearray(FILES[name])
    data[at % len(data)] ^= flip
    files = {n: place / n for n in FILES}
    same = digest_of(files)
    files[name].write_bytes(data)
    assert digest_of(files) != same
    files[name].write_bytes(FILES[name])
    assert digest_of(files) == same
    assert examine(install(place, FILES)).digest == before


def test_a_file_more_less_or_renamed_is_another_digest(place: Path) -> None:
    entry = install(place, FILES)
    before = examine(entry).digest
    (place / "zz_pkg/late.py").write_text("")  # not in RECORD, and importable all the same
    assert examine(entry).digest != before
    (place / "zz_pkg/late.py").unlink()
    (place / "zz_pkg/content/a.toml").rename(place / "zz_pkg/content/b.toml")
    assert examine(entry).digest != before


def test_caches_are_not_part_of_it(place: Path) -> None:
    """The worker reads none (test_host shows that), so pip and Python may write them as they like."""
    entry = install(place, FILES)
    before = examine(entry).digest
    (place / "zz_pkg/__pycache__").mkdir()
    (place / "zz_pkg/__pycache__/__init__.cpython-311.pyc").write_bytes(b"anything")
    assert examine(entry).digest == before


REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "pth": ({"zz.pth": b"import os\n"}, "runs code whenever any Python starts"),
    "pth of paths": ({"zz.pth": b"/tmp\n"}, "runs code whenever any Python starts"),
    "script": ({"../../bin/zz": b"#!/bin/sh\n"}, "outside the package"),
    "another package": ({"yaml/__init__.py": b""}, "outside the package zz_pkg"),
    "a module beside it": ({"sitecustomize.py": b""}, "outside the package zz_pkg"),
    "an absolute path": ({"/etc/zz": b""}, "outside the package"),
    "elf": ({"zz_pkg/data.bin": b"\x7fELF\x02"}, "compiled code"),
    "shared object": ({"zz_pkg/_fast.cpython-311-x86_64-linux-gnu.so": b""}, "compiled code"),
    "versioned object": ({"zz_pkg/libx.so.1": b""}, "compiled code"),
    "sourceless": ({"zz_pkg/hidden.pyc": b"\xa7"}, "compiled Python without its source"),
    "another distribution's metadata": (
        {"zz_other-1.0.dist-info/entry_points.txt": b"[pydantic]\nzz = zz_pkg\n"},
        "zz_other-1.0.dist-info: another distribution's metadata",
    ),
    "another module's cache": (
        {"__pycache__/typing_extensions.cpython-311.pyc": b"\xa7"},
        "compiled Python for a module that is not zz_pkg",
    ),
    "pydantic's entry point": (
        {"zz_pkg-1.0.dist-info/entry_points.txt": POINTS + b"[pydantic]\nzz = zz_pkg:x\n"},
        "an entry point in the group pydantic",
    ),
    "any other entry point": (
        {"zz_pkg-1.0.dist-info/entry_points.txt": POINTS + b"[zz.made_up]\nzz = zz_pkg:x\n"},
        "an entry point in the group zz.made_up",
    ),
    "console script": (
        {"zz_pkg-1.0.dist-info/entry_points.txt": POINTS + b"[console_scripts]\nls = zz_pkg:x\n"},
        "makes the script ls",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_run_elsewhere_is_refused(place: Path, name: str) -> None:
    more, word = REFUSED[name]
    on_disk = {file: data for file, data in (FILES | more).items() if ".." not in file and file[0] != "/"}
    found = examine(install(place, on_disk, [*FILES, *more]))
    assert problems(found, word), found.problems
    assert problems(examine(install(place, on_disk, [*FILES, *more]), compiled=True), word) is (
        word not in {"compiled code", "compiled Python without its source"}
    )


def test_a_single_module_may_have_its_own_cache_and_no_other(place: Path) -> None:
    files = {name: data for name, data in FILES.items() if "dist-info" in name} | {"zz_pkg.py": b"x = 1\n"}
    own = "__pycache__/zz_pkg.cpython-311.pyc"
    assert examine(install(place, files, [*files, own])).problems == ()
    for other in (
        "__pycache__/zz_pkg_more.cpython-311.pyc",
        "__pycache__/zz_pkg/x.pyc",
        "__pycache__/zz_pkg.so",
    ):
        assert problems(examine(install(place, files, [*files, other])), "is not zz_pkg")


TOPS = (
    *(
        "org",
        "nt",
        "msvcrt",
        "_winapi",
        "winreg",
        "sitecustomize",
        "usercustomize",
        "umbridge",
        "umbridge_audit",
    ),
    *("pluggy", "click", "pydantic", "greenlet", "json", "copy", "antigravity", "Click", "ORG"),
)


@pytest.mark.parametrize("top", TOPS)
def test_a_package_that_others_would_import_is_refused(place: Path, top: str) -> None:
    files = {name.replace("zz_pkg/", f"{top}/"): data for name, data in FILES.items()}
    files["zz_pkg-1.0.dist-info/entry_points.txt"] = POINTS.replace(b"zz_pkg", top.encode())
    found = examine(install(place, files))
    assert any(problem.startswith(f"{top}: ") for problem in found.problems), found.problems


@pytest.mark.parametrize(
    "name", ["../../lab/x", "/zz/x", "zz\x1b[31m", "zz\x07", "zz\u202e", "Zz", "zz-a", "z" * 64]
)
def test_a_name_that_is_no_plain_word_is_refused(place: Path, name: str) -> None:
    entry = EntryPoint(name, "zz_pkg", "umbridge.criteria")
    found = examine(entry._for(install(place, FILES).dist))  # type: ignore[attr-defined]
    assert problems(found, "expected up to 63 lower-case letters")
    assert all(problem.isprintable() for problem in found.problems)


def test_what_a_link_in_the_metadata_leads_to_is_not_taken_along(place: Path, tmp_path: Path) -> None:
    entry = install(place, FILES, [*FILES, "zz_pkg-1.0.dist-info/licenses/log.key"])
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/log.key").write_text("ZZTEST")
    (place / "zz_pkg-1.0.dist-info/licenses").symlink_to(tmp_path / "keys")
    found = examine(entry)
    assert problems(found, "zz_pkg-1.0.dist-info/licenses: a link")
    assert not any("log.key" in name for name in found.files)


DAMAGED = {
    "not utf-8": b"\xff,,\n",
    "no number": b"zz_pkg/__init__.py,,many\n",
    "nul": b"zz_pkg-1.0.dist-info/a\0b,,\n",
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_record_is_a_problem_and_no_more(place: Path, how: str) -> None:
    entry = install(place, FILES)
    (place / "zz_pkg-1.0.dist-info/RECORD").write_bytes(DAMAGED[how])
    assert problems(examine(entry), "cannot be read")


def test_links_and_special_files_are_refused(place: Path) -> None:
    entry = install(place, FILES)
    link = place / "zz_pkg/link.py"
    link.symlink_to("/etc/passwd")
    assert problems(examine(entry), "zz_pkg/link.py: a link")
    link.unlink()
    (place / "zz_pkg/inner").symlink_to(place / "zz_pkg/content")
    assert problems(examine(entry), "zz_pkg/inner: a link")
    (place / "zz_pkg/inner").unlink()
    os.mkfifo(place / "zz_pkg/pipe")
    assert problems(examine(entry), "zz_pkg/pipe: not a regular file")


def test_no_record_no_package_and_too_much_are_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = install(place, FILES)
    (place / "zz_pkg-1.0.dist-info/RECORD").unlink()
    assert problems(examine(entry), "no RECORD")
    other = EntryPoint("zz", "zz_nowhere_at_all", "umbridge.criteria")
    assert problems(examine(other), "no such package") and problems(examine(other), "distribution is unknown")
    entry = install(place, FILES)
    monkeypatch.setattr(package, "FILES_LIMIT", 1)
    assert problems(examine(entry), "more than 1 files")
    monkeypatch.setattr(package, "FILES_LIMIT", 100)
    monkeypatch.setattr(package, "BYTES_LIMIT", 20)
    assert problems(examine(entry), "altogether")


def test_an_editable_install_may_have_its_path_file(place: Path) -> None:
    said = json.dumps({"url": "file:///zz", "dir_info": {"editable": True}}).encode()
    more = {"_zz.pth": b"/zz/src\n", "zz_pkg-1.0.dist-info/direct_url.json": said}
    found = examine(install(place, FILES | more))
    assert (found.editable, found.problems) == (True, ())
    assert found.digest == examine(install(place, FILES)).digest  # the same files: the same digest
    found = examine(install(place, FILES | more | {"_zz.pth": b"import zz_hook\n"}))
    assert problems(found, "_zz.pth: runs code")


def test_a_copy_of_the_files_has_the_same_digest(place: Path, tmp_path: Path) -> None:
    found = examine(install(place, FILES))
    copy = tmp_path / "copy"
    for name, path in found.files.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(path.read_bytes())
    assert digest_of(kept(copy)) == found.digest
    (copy / "zz_pkg/__init__.py").write_bytes(b"x = 2\n")
    assert digest_of(kept(copy)) != found.digest
    (copy / "more.py").symlink_to(copy / "zz_pkg/__init__.py")
    with pytest.raises(ChangedError, match=r"more\.py: a link"):
        kept(copy)
    with pytest.raises(ChangedError):
        kept(tmp_path / "nowhere")
