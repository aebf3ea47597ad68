"""Computes SPEC.md's example and vectors/ from fixed keys and fixed "random" bytes: ``make vectors``."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import shake_256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from umbridge_audit.checkpoint import Checkpoint, VerifierKey, sign
from umbridge_audit.entry import JsonValue, canonical, parse, parse_leaf
from umbridge_audit.examine import genesis_prev
from umbridge_audit.handover import Handover, statement
from umbridge_audit.policy import Policy
from umbridge_audit.proof import write_receipt
from umbridge_audit.seal import Composed, Xaes, compose, dek_commit, part_aad
from umbridge_audit.slots import BY_NAME, COMPARTMENTS, SCHEMAS, check_open, split_closed
from umbridge_audit.tree import Frontier, consistency_proof, inclusion_proof, leaf_hash, root_of

HERE = Path(__file__).parent
SPEC = HERE.parent / "SPEC.md"
CHAIN = "genhosp/adt-1"
ORIGIN = f"umbridge.{CHAIN}/1"
SEED = bytes(range(32))
DEK = bytes(range(100, 132))
KID = "ops.2026-11.00000001"


def stream(label: str) -> Callable[[int], bytes]:
    """Reproducible bytes in place of the operating system's."""
    position = 0
    source = shake_256(b"umbridge test vectors/" + label.encode())

    def take(count: int) -> bytes:
        nonlocal position
        position += count
        return source.digest(position)[position - count :]

    return take


def kid_of(compartment: str) -> str:
    return KID.replace("ops", compartment)


def entry(kind: str, values: dict[str, JsonValue], seq: int, prev: bytes, ts: str) -> Composed:
    """``kind``, or one of its lists by name."""
    schema = BY_NAME.get(kind) or SCHEMAS[kind]
    texts = schema.texts(values)
    texts[0], texts[1] = canonical(schema.name), canonical(ts)
    return compose(
        schema,
        texts,
        {c: (kid_of(c), Xaes(DEK)) for c in schema.compartments},
        chain=CHAIN,
        gen=1,
        seq=seq,
        prev=prev,
        random=stream(f"entry {seq}"),
    )


def ledger() -> tuple[list[Composed], str, Policy]:
    """Three entries, the checkpoint over them, and the policy."""
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    vkey = VerifierKey(ORIGIN, key.public_key().public_bytes_raw())
    config = canonical(
        {
            "chain": CHAIN,
            "facility": "GENHOSP",
            "gen": 1,
            "software": "umbridge 0.1.0",
            "v": 2,
            "vkey": str(vkey),
        }
    )
    genesis = entry(
        "genesis",
        {
            "actor": "umbridge",
            "org": "genhosp",
            "chain": "adt-1",
            "facility": "GENHOSP",
            "software": "umbridge 0.1.0",
            "config": config,
        },
        0,
        genesis_prev(config),
        "2026-11-22T08:00:00.000Z",
    )
    created = entry(
        "key.create",
        {"actor": "umbridge", "kid": KID, "alg": "XAES-256-GCM", "commit": dek_commit(KID, DEK)},
        1,
        genesis.leaf_hash,
        "2026-11-22T08:00:01.250Z",
    )
    received = entry(
        "message.received",
        {
            "actor": "umbridge",
            "feed": "adt",
            "state": "PENDING",
            "row": 1,
            "control_id": "ZZTEST0001",
            "message_type": "ADT^A01",
            "sender": "REG|GENHOSP",
            "version": "2.5.1",
            "digest": "ab" * 32,
            "ack": "AA",
        },
        2,
        created.leaf_hash,
        "2026-11-22T08:00:01.250Z",
    )
    entries = [genesis, created, received]
    frontier = Frontier()
    for made in entries:
        frontier.append(made.leaf_hash)
    note = sign(Checkpoint(ORIGIN, 3, frontier.root()), key)
    return entries, note, Policy(vkey, genesis.leaf_hash)


TOLD_AT = "2026-11-22T08:00:02.500Z"

#: What a plugin said of an invented patient, and what was made of it.
DETERMINED: dict[str, JsonValue] = {
    "actor": "plugin:interqual_like",
    "state": "screened",
    "row": 7,
    "control_id": "ZZTEST0007",
    "message_digest": "cd" * 32,
    "plugin": "interqual_like",
    "plugin_version": "0.1.0",
    "subset": "cap",
    "edition": "2026.2",
    "content_digest": "sha256:" + "ef" * 32,
    "review": "ADMISSION",
    "review_id": "ADMISSION-2",
    "isolation": "full",
    "latency_us": 480,
    "visit": "ZZVN0000007",
    "mrn": "ZZTEST7",
    "outcome": "MEETS",
    "requested_status": "INPATIENT",
    "requested_level": "ACUTE",
    "supported": "ACUTE",
    "episode_day": 1,
    "rationale": "ACUTE supported: PSI class IV. PSI 92, class IV. This level is reached by age alone.",
    "evidence": [
        {"at": "2026-02-17T12:00:00-05:00", "fact": "age", "from": "PID-7", "unit": "a", "value": "92"}
    ],
    "advise_higher": "NO",
    "scores": {"psi": 92, "psi_class": "IV"},
    "as_of": "2026-02-17T12:40:00-05:00",
    "payer_class": "COMMERCIAL",
}
SINCE_2: dict[str, JsonValue] = {
    "content_status": {"by": [], "on": None, "state": "draft"},
    "rules": "2026.1",
    "judged_at": "2026-02-17T12:00:00-05:00",
    "closes": False,
    "hold": ["AGE_ONLY"],
}


#: A review that closed, by the first list, and opened again, by the second.
CHANGED: dict[str, JsonValue] = {
    "actor": "umbridge",
    "state": "closed",
    "row": 7,
    "review": "ADMISSION",
    "review_id": "ADMISSION-2",
    "due": "2026-02-18T11:00:00-05:00",
    "visit": "ZZVN0000007",
    "mrn": "ZZTEST7",
}
CHANGED_SINCE_2: dict[str, JsonValue] = {"state": "open", "row": 9, "reason": "FACT_CORRECTED"}


def said(*listed: tuple[str, dict[str, JsonValue]]) -> tuple[list[Composed], str]:
    """The genesis, a key for each compartment, an entry by each of the lists named, and the checkpoint."""
    entries = ledger()[0][:1]
    for c in COMPARTMENTS:
        values: dict[str, JsonValue] = {"actor": "umbridge", "kid": kid_of(c), "alg": "XAES-256-GCM"}
        values["commit"] = dek_commit(kid_of(c), DEK)
        at = (len(entries), entries[-1].leaf_hash, "2026-11-22T08:00:01.250Z")
        entries.append(entry("key.create", values, *at))
    for name, values in listed:
        at = (len(entries), entries[-1].leaf_hash, TOLD_AT)
        entries.append(entry(name, values, *at))
    frontier = Frontier()
    for made in entries:
        frontier.append(made.leaf_hash)
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    return entries, sign(Checkpoint(ORIGIN, len(entries), frontier.root()), key)


def determinations() -> tuple[list[Composed], str]:
    """The same determination by both lists."""
    return said(("determination/1", DETERMINED), ("determination/2", {**DETERMINED, **SINCE_2}))


def changes() -> tuple[list[Composed], str]:
    """A review that closed and one that opened again, by a list each."""
    return said(("review.changed/1", CHANGED), ("review.changed/2", {**CHANGED, **CHANGED_SINCE_2}))


def slot_by_slot(file: str, name: str, made: Composed, values: dict[str, JsonValue]) -> str:
    """An entry of a vector as section 12 shows it: its slots, and what comes of them."""
    schema = BY_NAME[name]
    texts = schema.texts(values)
    texts[0], texts[1] = canonical(schema.name), canonical(TOLD_AT)
    lines = [
        f"Entry {made.record.seq} of `{file}`, slot by slot (number, compartment, name, value):",
        "",
        "```",
    ]
    lines += [f"{k} {c} {name} {texts[k]}" for k, (name, c) in enumerate(schema.slots)]
    lines += ["```", "", "Its leaf and the leaf's hash:", "", "```"]
    return "\n".join([*lines, made.record.leaf.decode(), made.leaf_hash.hex(), "```"])


def determination() -> str:
    """Section 12's block for the second list of a determination."""
    made = determinations()[0][-1]
    return slot_by_slot("determinations.json", "determination/2", made, {**DETERMINED, **SINCE_2})


def change() -> str:
    """Section 12's block for a review that opened again."""
    made = changes()[0][-1]
    return slot_by_slot("reviews.json", "review.changed/2", made, {**CHANGED, **CHANGED_SINCE_2})


def example() -> str:
    entries, note, policy = ledger()
    made = entries[2]
    leaf = parse_leaf(made.record.leaf)
    opened = parse(made.record.open)
    assert isinstance(opened, list)
    lines = ["The policy an auditor is given:", "", "```", policy.text().rstrip(), "```", ""]
    for seq, one in enumerate(entries):
        lines += [
            f"Entry {seq}, leaf ({len(one.record.leaf)} bytes) and its hash:",
            "",
            "```",
            one.record.leaf.decode(),
            one.leaf_hash.hex(),
            "```",
            "",
        ]
    schema = SCHEMAS["message.received"]
    salt = opened[3][1]
    assert isinstance(salt, str)
    lines += [
        "Entry 2, slot 3 (`feed`): its opening, what is hashed, and the commitment:",
        "",
        "```",
        canonical(opened[3]),
        "00 " + (schema.head[3][1:] + salt.encode() + schema.mid[3] + b'"adt"]').hex(),
        schema.commitment(3, salt.encode(), b'"adt"').hex(),
        "```",
        "",
        "Entry 2, its part `ops`: the additional data, and the ciphertext's beginning:",
        "",
        "```",
        part_aad(leaf, leaf.parts[0]).hex(),
        made.record.parts["ops"][:64].hex(),
        "```",
        "",
        "The checkpoint over the three:",
        "",
        "```",
        note.rstrip(),
        "```",
        "",
        "Entry 2's receipt (section 15), which shows `schema` and `ts` and hides the rest:",
        "",
        "```",
        receipt().rstrip(),
        "```",
        "",
        "Everything else of the example (openings, closed commitments, the whole ciphertext, the keys) is in",
        "`audit/tests/vectors/ledger.json`.",
    ]
    return "\n".join(lines)


def receipt() -> str:
    """Entry 2's, under the checkpoint of size 3."""
    entries, note, _ = ledger()
    record = entries[2].record
    hashes = [made.leaf_hash for made in entries]
    schema, _, commitments = check_open(record.open)
    roots = split_closed(schema, record.closed)
    opened = parse(record.open)
    assert isinstance(opened, list)
    line: dict[str, JsonValue] = {
        "hidden": [
            *([k, made.hex()] for k, made in enumerate(commitments) if k > 1),
            *([c, root.hex()] for c, root in zip(schema.compartments, roots, strict=True)),
        ],
        "leaf": record.leaf.decode(),
        "open": opened[:2],
    }
    path = inclusion_proof(2, 3, lambda level, n: root_of(hashes[n << level : (n + 1) << level]))
    return write_receipt(canonical(line), 2, path, note)


def kinds() -> str:
    lines = ["| kind | open, after `schema ts` | by compartment |", "|---|---|---|"]
    for schema in BY_NAME.values():
        closed = "; ".join(
            f"{c}: " + " ".join(f"`{schema.names[k]}`" for k in schema.of[c])
            for c in COMPARTMENTS
            if c in schema.compartments
        )
        name = schema.name.removesuffix("/1")
        lines.append(f"| `{name}` | {' '.join(f'`{n}`' for n in schema.open[2:])} | {closed or '–'} |")
    return "\n".join(lines)


def handed_over() -> tuple[str, dict[str, object]]:
    """Section 18's block, and its file: the example's key hands over to another at entry 3."""
    _, _, policy = ledger()
    old, new = (Ed25519PrivateKey.from_private_bytes(seed) for seed in (SEED, stream("next key")(32)))
    after = VerifierKey(ORIGIN, new.public_key().public_bytes_raw())
    said = statement(3, policy.log, after)
    made = Handover(3, policy.log, after, old.sign(said) + new.sign(said))
    newer = replace(policy, log=after, handovers=(made,))
    block = "\n".join(
        ["```", f"{said.decode()}```", "", "The policy from then on:", "", "```", f"{newer.text()}```"]
    )
    values = made.values()
    value: dict[str, object] = {"at": 3, "statement": said.decode(), "slots": values, "policy": newer.text()}
    value["older"] = policy.text()
    return block, value


def spec_text(current: str) -> str:
    """SPEC.md with its computed blocks written again."""
    for name, text in (
        ("example", example()),
        ("kinds", kinds()),
        ("determination", determination()),
        ("review", change()),
        ("handover", handed_over()[0]),
    ):
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        head, _, rest = current.partition(begin)
        _, _, tail = rest.partition(end)
        current = f"{head}{begin}{text}\n{end}{tail}"
    return current


def rows_of(entries: list[Composed]) -> list[dict[str, object]]:
    """A ledger's records as a vector has them."""
    return [
        {
            "seq": made.record.seq,
            "leaf": made.record.leaf.decode(),
            "leaf_hash": made.leaf_hash.hex(),
            "open": made.record.open,
            "closed": made.record.closed.hex(),
            "parts": {c: ct.hex() for c, ct in made.record.parts.items()},
        }
        for made in entries
    ]


def files() -> dict[str, str]:
    """Every file of vectors/ by name."""
    entries, note, policy = ledger()
    determined, note_of_those = determinations()
    changed, note_of_changes = changes()
    roots = []
    frontier = Frontier()
    for n in range(33):
        roots.append(frontier.root().hex())
        frontier.append(leaf_hash(f"leaf {n}".encode()))
    leaves = [leaf_hash(f"leaf {n}".encode()) for n in range(33)]

    def node(level: int, n: int) -> bytes:
        return root_of(leaves[n << level : (n + 1) << level])

    inclusion = {
        f"{index} in {size}": [hashed.hex() for hashed in inclusion_proof(index, size, node)]
        for index, size in ((0, 1), (0, 2), (2, 3), (4, 5), (6, 7), (0, 32), (31, 32), (20, 33), (32, 33))
    }
    consistency = {
        f"{old} to {new}": [hashed.hex() for hashed in consistency_proof(old, new, node)]
        for old, new in ((0, 5), (1, 2), (3, 7), (4, 7), (6, 7), (7, 7), (16, 33), (17, 33), (32, 33))
    }
    nonce = stream("seal")(24)
    whole = {
        "ledger.json": {
            "records": rows_of(entries),
            "checkpoint": note,
            "policy": policy.text(),
            "seed": SEED.hex(),
            "keys": {KID: DEK.hex()},
        },
        "determinations.json": {
            "records": rows_of(determined),
            "checkpoint": note_of_those,
            "policy": policy.text(),
            "keys": {kid_of(c): DEK.hex() for c in COMPARTMENTS},
        },
        "reviews.json": {
            "records": rows_of(changed),
            "checkpoint": note_of_changes,
            "policy": policy.text(),
            "keys": {kid_of(c): DEK.hex() for c in COMPARTMENTS},
        },
        "tree.json": {
            "leaf": "the text 'leaf <n>', n from 0",
            "roots": roots,
            "inclusion": inclusion,
            "consistency": consistency,
        },
        "handover.json": handed_over()[1],
        "receipt.json": {"policy": policy.text(), "receipt": receipt(), "shown": ["schema", "ts"]},
        "xaes.json": {
            "source": "https://c2sp.org/XAES-256-GCM, then one of ours with additional data of a part",
            "vectors": [
                {
                    "key": "01" * 32,
                    "nonce": b"ABCDEFGHIJKLMNOPQRSTUVWX".hex(),
                    "plaintext": b"XAES-256-GCM".hex(),
                    "aad": "",
                    "ciphertext": "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
                },
                {
                    "key": "03" * 32,
                    "nonce": b"ABCDEFGHIJKLMNOPQRSTUVWX".hex(),
                    "plaintext": b"XAES-256-GCM".hex(),
                    "aad": b"c2sp.org/XAES-256-GCM".hex(),
                    "ciphertext": "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
                },
                {
                    "key": DEK.hex(),
                    "nonce": nonce.hex(),
                    "plaintext": bytes(256).hex(),
                    "aad": b"umb/part/1".hex(),
                    "ciphertext": Xaes(DEK).seal(nonce, bytes(256), b"umb/part/1").hex(),
                },
            ],
            "accumulated": {
                "10000": "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939",
            },
        },
        "canonical.json": {
            "same": [
                '{"a":1,"b":[true,false,null]}',
                '"\\u0001\\b\\t\\n\\f\\r\\"\\\\/"',
                '"\u00e9\u4e2d\U0001f600"',
            ],
            "refused": [
                '{"a":1,"a":1}',
                '{"b":1,"a":2}',
                '{"a": 1}',
                "1.0",
                "1e3",
                "-0",
                "NaN",
                "Infinity",
                "01",
                '"\\u0041"',
                '"\\/"',
                '"\\u001F"',
                "9007199254740992",
                "[[[[[[[[[1]]]]]]]]]",
                "\ufeff1",
                "'a'",
                "",
                " 1",
                "1\n",
                '"\\ud800"',
            ],
        },
        "note.json": {
            "vkey": str(policy.log),
            "good": note,
            "bad": {
                "size": note.replace("\n3\n", "\n4\n"),
                "leading_zero": note.replace("\n3\n", "\n03\n"),
                "origin": note.replace("adt-1/1\n3", "adt-2/1\n3"),
                "no_signature": note.split("\n\n")[0] + "\n\n",
                "no_empty_line": note.replace("\n\n", "\n"),
                "extension_line": note.replace("\n\n", "\nextension\n\n"),
                "hyphen_for_dash": note.replace("—", "-"),
                "no_last_newline": note[:-1],
                "twice": note + note.split("\n\n")[1],
                "other_key_id": note.split("— ")[0]
                + f"— {ORIGIN} {b64encode(b'abcd' + bytes(64)).decode()}\n",
            },
        },
    }
    return {name: json.dumps(value, indent=1, ensure_ascii=False) + "\n" for name, value in whole.items()}


def main() -> None:
    for name, text in files().items():
        (HERE / "vectors" / name).write_text(text)
    SPEC.write_text(spec_text(SPEC.read_text()))


if __name__ == "__main__":
    main()
