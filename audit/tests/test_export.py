"""Bundles: what a role may not see is not in them, every byte counts, and hostile files get one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from umbridge_audit.bundle import verify_bundle
from umbridge_audit.cli import main
from umbridge_audit.disclose import NotPermitted, Viewer, disclose
from umbridge_audit.entry import Draft
from umbridge_audit.export import export
from umbridge_audit.keys import Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.redact import AccessTable
from umbridge_audit.store import open_readonly

TABLE = AccessTable.load()

# A public witness of a public log (audit/tests/test_cosign.py): it has not signed anything of ours.
PUBLIC_WITNESS = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"


def take(lab: Any, out: Path, *roles: str, purpose: str, profile: str, ledger: Any = None) -> Any:
    who = Viewer("zztest-os", "zztest-user", roles, "os-account")
    return disclose(
        lab.commit,
        TABLE,
        who,
        purpose=purpose,
        reason="",
        kind="export",
        query=profile,
        patient=None,
        count=None,
        produce=lambda permission: export(
            ledger or lab.ledger,
            permission,
            TABLE,
            viewer=who,
            purpose=purpose,
            reason="",
            profile=profile,
            out=out,
            commit=lab.commit,
            checkpoint=lab.ledger.checkpoint,
        ),
    )[1]


@pytest.fixture
def filled(lab: Any, message: Any, determination: Any) -> Any:
    lab.write(message(1), determination(1), message(2))
    return lab


@pytest.fixture(scope="session")
def shipped(full_lab: Any, tmp_path_factory: Any) -> tuple[Path, Policy, Path]:
    """One finished bundle for the billing office, its policy, and the policy's file."""
    folder = tmp_path_factory.mktemp("shipped")
    made = full_lab.copy(folder / "lab")
    made.reopen()
    take(made, folder / "bundle.jsonl", "billing", purpose="HPAYMT", profile="role:billing")
    made.close()
    (folder / "ledger.policy").write_text(made.policy.text())
    return folder / "bundle.jsonl", made.policy, folder / "ledger.policy"


EXPORTERS = [
    ("billing", "HPAYMT", "role:billing"),
    ("him", "PATRQT", "role:him"),
    ("compliance_auditor", "HCOMPL", "role:compliance_auditor"),
    ("privacy_officer", "HCOMPL", "role:privacy_officer"),
    ("administrator", "HOPERAT", "role:it_ops"),
    ("administrator", "HOPERAT", "role:physician_advisor"),
    ("external_auditor", "HCOMPL", "integrity-only"),
    ("compliance_auditor", "HCOMPL", "integrity-only"),
]


@pytest.mark.parametrize(("role", "purpose", "profile"), EXPORTERS)
def test_any_role_verifies_and_shows_only_its_fields(
    filled: Any,
    tmp_path: Path,
    oracle: ModuleType,
    spec_text: str,
    canaries: tuple[str, ...],
    role: str,
    purpose: str,
    profile: str,
) -> None:
    out = tmp_path / "bundle.jsonl"
    done = take(filled, out, role, purpose=purpose, profile=profile)
    report = verify_bundle(out, filled.policy)
    assert (report.verdict, report.level, report.entries) == ("PASS", "bundle", done.size), report.problems
    assert done.size == done.count + 1 == filled.ledger.size
    assert oracle.bundle(out, filled.policy.text(), spec_text) == done.size
    permission = TABLE.permission([role], purpose).within(TABLE.profile(profile))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    for line in lines[1 : done.count + 1]:
        names = {name for _, _, name, _ in line["open"]}
        if profile == "integrity-only":
            assert not names
        for name in names - {"schema"}:
            groups = {
                c
                for c in ("open", "ops", "ident", "clin", "fin", "sens")
                if permission.may(c, name) == "show"
            }
            assert groups, name
    text = out.read_text()
    sees = {c for c in ("ident", "clin", "sens") if permission.opens(c)}
    assert (canaries[0] in text) == (permission.may("ident", "mrn") == "show")
    assert canaries[2] not in text or permission.may("clin", "rationale") == "show"
    if not sees:
        assert not any(canary in text for canary in canaries)
    assert out.stat().st_mode & 0o777 == 0o600 and [p.name for p in tmp_path.glob(".*part")] == []
    assert filled.verify("full").verdict == "PASS"


def test_a49_hidden_absent_short_and_long_are_the_same_bytes_long(
    lab: Any, tmp_path: Path, determination: Any
) -> None:
    """A leaf says no length: what a role may not see it cannot measure. ``sens`` would tell."""
    full = determination(1)
    bare = Draft(
        "determination", {k: full.values[k] for k in ("actor", "state", "row", "plugin", "review", "visit")}
    )
    long = Draft(
        "determination",
        {
            **full.values,
            "rationale": "x" * 2000,
            "sens_rationale": "y" * 3000,
            "sens_evidence": [{"a": "b" * 900}],
        },
    )
    short = Draft("determination", {**full.values, "rationale": "x", "tags": ["t"], "mrn": "1"})
    first = lab.write(bare, full, long, short)[0].seq
    for profile, purpose, role in (
        ("integrity-only", "HCOMPL", "external_auditor"),
        ("role:it_ops", "HOPERAT", "it_ops"),
    ):
        out = tmp_path / profile.replace(":", "-")
        take(lab, out, role, purpose=purpose, profile=profile)
        lines = [json.loads(line) for line in out.read_text().splitlines()][1 + first : 5 + first]
        # the number of the entry has as many digits as it has
        shapes = {
            (
                len(re.sub(r'"seq":[0-9]+', "", line["leaf"])),
                len(json.dumps(line["hidden"])),
                len(line["open"]),
            )
            for line in lines
        }
        assert len(shapes) == 1, shapes


def test_a51_a_profile_gives_nothing_the_requester_may_not_see(
    filled: Any, tmp_path: Path, canaries: tuple[str, ...]
) -> None:
    out = tmp_path / "b"
    take(
        filled, out, "administrator", "compliance_auditor", purpose="HCOMPL", profile="role:physician_advisor"
    )
    assert not any(canary in out.read_text() for canary in canaries)


def test_refused_exports_write_nothing(filled: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(NotPermitted):
        take(filled, folder / "b", "ur_nurse", purpose="HPAYMT", profile="role:ur_nurse")
    with pytest.raises(ValueError, match="profile"):
        take(filled, folder / "b", "billing", purpose="HPAYMT", profile="everything")
    assert list(folder.iterdir()) == []
    (folder / "b").write_text("mine")
    with pytest.raises(FileExistsError):
        take(filled, folder / "b", "billing", purpose="HPAYMT", profile="role:billing")
    assert [p.read_text() for p in folder.iterdir()] == ["mine"]


def test_a_failing_commit_leaves_no_file(
    filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = Viewer("a", "u", ("billing",), "os")

    def full(_draft: Any) -> Any:
        raise OSError("no space left")

    with pytest.raises(OSError, match="space"):
        export(
            filled.ledger,
            TABLE.permission(["billing"], "HPAYMT"),
            TABLE,
            viewer=who,
            purpose="HPAYMT",
            reason="",
            profile="role:billing",
            out=tmp_path / "b",
            commit=full,
            checkpoint=filled.ledger.checkpoint,
        )
    assert [p for p in tmp_path.iterdir() if p.is_file()] == []


def test_the_pen_writes_on_meanwhile(
    filled: Any, tmp_path: Path, message: Any, oracle: ModuleType, spec_text: str
) -> None:
    """A read-only view exports while others append: their entries come as bare leaves in the tail."""
    plain_commit = filled.commit

    def busy(draft: Any) -> Any:
        if draft.kind == "access.export" and "bundle_digest" in draft.values:
            filled.write(message(8), message(9))
            receipt = plain_commit(draft)
            filled.write(message(10))
            return receipt
        return plain_commit(draft)

    filled.commit = busy
    out = tmp_path / "b"
    with open_readonly(filled.db, Keyring.open(filled.keys)) as source:
        done = take(filled, out, "billing", purpose="HPAYMT", profile="role:billing", ledger=source)
    assert done.size == done.count + 4
    assert verify_bundle(out, filled.policy).verdict == "PASS"
    assert oracle.bundle(out, filled.policy.text(), spec_text) == done.size
    whole = out.read_bytes()
    for at in range(0, len(whole), 97):
        out.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert verify_bundle(out, filled.policy).verdict == "FAIL", at


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 10**6), st.integers(1, 255), st.sampled_from(["flip", "drop", "insert", "cut", "double"])
)
def test_any_changed_byte_fails(shipped: Any, tmp_path_factory: Any, at: int, bits: int, how: str) -> None:
    path, policy, _ = shipped
    whole = path.read_bytes()
    at %= len(whole)
    changed = {
        "flip": whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :],
        "drop": whole[:at] + whole[at + 1 :],
        "insert": whole[:at] + bytes([bits]) + whole[at:],
        "cut": whole[:at],
        "double": whole + whole[at:],
    }[how]
    out = tmp_path_factory.getbasetemp() / "changed.jsonl"
    out.write_bytes(changed)
    assert (verify_bundle(out, policy).verdict == "PASS") == (changed == whole)


def change_lines(change: Callable[[list[Any]], Any]) -> Callable[[bytes], bytes]:
    def apply(raw: bytes) -> bytes:
        lines = [json.loads(line) for line in raw.decode().splitlines()]
        change(lines)
        return "".join(
            json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
            for line in lines
        ).encode()

    return apply


def swap_values(lines: list[Any]) -> None:
    """A46: two disclosed values exchange places."""
    a, b = lines[12]["open"][1], lines[12]["open"][2]
    a[3], b[3] = b[3], a[3]


def fold_hidden(lines: list[Any]) -> None:
    """Two hidden commitments are replaced by their parent: the same root with one slot fewer."""
    from umbridge_audit.tree import node_hash

    line = lines[3]
    hidden, opened = line["hidden"], line["open"]
    assert not hidden or opened
    both = [node_hash(b"a", b"b").hex()]
    line["hidden"] = [[0, both[0]]]


ATTACKS: dict[str, tuple[Callable[[bytes], bytes], int | None]] = {
    "unchanged": (change_lines(lambda lines: None), -1),
    "A46 value": (change_lines(lambda lines: lines[12]["open"][-1].__setitem__(3, "COMMERCIAL")), 11),
    "A46 values swapped": (change_lines(swap_values), 11),
    "A46 hidden replaced": (change_lines(lambda lines: lines[12]["hidden"][0].__setitem__(1, "00" * 32)), 11),
    "A46 hidden dropped": (change_lines(lambda lines: lines[12]["hidden"].pop()), 11),
    "A46 hidden upper case": (
        change_lines(lambda lines: lines[12]["hidden"][0].__setitem__(1, lines[12]["hidden"][0][1].upper())),
        11,
    ),
    "hidden folded": (change_lines(fold_hidden), 2),
    "A50 line left out": (change_lines(lambda lines: lines.pop(5)), 4),
    "A50 last line left out": (change_lines(lambda lines: lines.pop(-3)), 22),
    "A10 lines swapped": (change_lines(lambda lines: lines.insert(5, lines.pop(6))), 4),
    "A8 first line left out": (change_lines(lambda lines: lines.pop(1)), 0),
    "manifest role": (change_lines(lambda lines: lines[0].__setitem__("role", "privacy_officer")), None),
    "manifest range": (change_lines(lambda lines: lines[0].__setitem__("range", [0, 5])), None),
    "manifest purpose": (change_lines(lambda lines: lines[0].__setitem__("purpose", "TREAT")), None),
    "manifest count": (change_lines(lambda lines: lines[0].update(count=22, range=[0, 21])), 23),
    "manifest count true": (change_lines(lambda lines: lines[0].update(count=True, range=[0, 0])), None),
    "other origin": (
        change_lines(lambda lines: lines[0].__setitem__("origin", "umbridge.genhosp/adt-2/1")),
        0,
    ),
    "A32 no checkpoint": (change_lines(lambda lines: lines.pop()), 24),
    "checkpoint twice": (change_lines(lambda lines: lines.append(lines[-1])), 24),
    "export entry not shown": (
        change_lines(lambda lines: [lines[-2].pop("open"), lines[-2].pop("hidden")]),
        24,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_bundle_attacks(shipped: Any, tmp_path: Path, name: str) -> None:
    path, policy, _ = shipped
    change, first_bad = ATTACKS[name]
    out = tmp_path / "b.jsonl"
    out.write_bytes(change(path.read_bytes()))
    report = verify_bundle(out, policy)
    if first_bad == -1:
        assert report.verdict == "PASS"
    else:
        assert (report.verdict, report.first_bad_seq) == ("FAIL", first_bad), report.problems


def test_a_folder_of_pieces_is_the_same_bundle(shipped: Any, tmp_path: Path) -> None:
    path, policy, _ = shipped
    lines = path.read_bytes().splitlines(keepends=True)
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "b.jsonl").write_bytes(b"".join(lines[7:]))
    (folder / "a.jsonl").write_bytes(b"".join(lines[:7]))
    (folder / "README").write_text("not part of it")
    assert verify_bundle(folder, policy).verdict == "PASS"
    (folder / "c.jsonl").symlink_to("/dev/zero")
    assert verify_bundle(folder, policy).verdict == "FAIL"
    (folder / "c.jsonl").unlink()
    (folder / "a.jsonl").rename(folder / "z.jsonl")
    assert verify_bundle(folder, policy).verdict == "FAIL"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def test_cli(shipped: Any, tmp_path: Path, lab: Any) -> None:
    path, policy, policy_file = shipped
    done = run(str(path), "--policy", str(policy_file))
    assert done.exit_code == 0 and done.stdout.startswith("PASS  level bundle  entries 24")
    done = run(str(path), "--policy", str(policy_file), "--json")
    said = json.loads(done.stdout)
    assert (
        said["verdict"] == "PASS"
        and said["level"] == "bundle"
        and said["entries"] == said["checkpoint"] == 24
    )
    assert len(done.stdout.splitlines()) == 1
    other = tmp_path / "other.policy"
    other.write_text(lab.policy.text())
    assert run(str(path), "--policy", str(other)).exit_code == 1
    witnessed = tmp_path / "witnessed.policy"
    witnessed.write_text(policy.text().replace("quorum none", f"witness w {PUBLIC_WITNESS}\nquorum w"))
    assert run(str(path), "--policy", str(witnessed)).exit_code == 3
    witnessed.write_text(policy.text().replace("quorum none", "witness w k\nquorum w"))  # no key at all
    assert run(str(path), "--policy", str(witnessed)).exit_code == 2


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_hostile_files_get_one_line_and_no_traceback(
    shipped: Any, tmp_path: Path, json_flag: list[str]
) -> None:
    path, _, policy_file = shipped
    good = path.read_bytes()
    hostile = {
        "empty": b"",
        "newline": b"\n",
        "null": b"null\n",
        "huge line": b'{"a":"' + b"x" * (5 << 20),
        "deep": b"[" * 200_000 + b"\n",
        "deep in manifest": b'{"count":' * 50_000 + b"\n",
        "not utf-8": b"\xff\xfe" * 100 + b"\n",
        "bom": b"\xef\xbb\xbf" + good,
        "crlf": good.replace(b"\n", b"\r\n"),
        "gzip": b"\x1f\x8b\x08" + good[:100],
        "number": b"9" * 100_000 + b"\n",
        "nul": b"\x00" * 1000,
        "truncated": good[: len(good) // 2],
        "wrong types": b'{"count":1,"format":1,"origin":[],"policy_hash":{},"profile":0,"purpose":0,'
        b'"range":0,"role":0}\n',
        "leaf of another type": good.split(b"\n", 1)[0] + b'\n{"hidden":[],"leaf":{},"open":[]}\n',
        "slots of another type": good.split(b"\n", 1)[0]
        + b'\n{"hidden":7,"leaf":"","open":"../../etc/passwd"}\n',
    }
    for name, raw in hostile.items():
        out = tmp_path / "hostile.jsonl"
        out.write_bytes(raw)
        done = run(str(out), "--policy", str(policy_file), *json_flag)
        assert done.exit_code == 1, name
        assert len(done.stdout.splitlines()) == 1 and "Traceback" not in done.output, name


def test_wrong_calls_exit_2_in_few_words(shipped: Any, tmp_path: Path) -> None:
    path, _, policy_file = shipped
    junk = tmp_path / "junk"
    junk.write_bytes(b"\xff\x00")
    words = tmp_path / "words"
    words.write_text("log me in\n")
    for arguments in (
        [],
        [str(path)],
        [str(tmp_path / "absent"), "--policy", str(policy_file)],
        [str(path), "--policy", str(tmp_path / "absent")],
        [str(path), "--policy", str(junk)],
        [str(path), "--policy", str(words)],
        [str(path), "--policy", str(tmp_path)],
    ):
        done = run(*arguments)
        assert done.exit_code == 2 and "Traceback" not in done.output


def test_the_verifier_loads_no_sql_and_no_keys() -> None:
    code = (
        "import sys, umbridge_audit.cli, umbridge_audit.verify, umbridge_audit.bundle\n"
        "bad = {'sqlalchemy', 'sqlmodel', 'sqlite3', 'umbridge_audit.store', 'umbridge_audit.keys'}\n"
        "print(sorted(bad & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
