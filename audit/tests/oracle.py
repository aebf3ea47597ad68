"""A second verifier, written from SPEC.md alone: it imports nothing of umbridge_audit. Slow and plain.

It answers only "does this ledger hold?" (keyless, or full when keys are given) and "does this bundle hold?".
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ORDER = ["ops", "ident", "clin", "fin", "sens"]


def need(condition: object, what: str) -> None:
    if not condition:
        raise ValueError(what)


def kinds(spec: str) -> dict[str, list[tuple[str, str]]]:
    """Section 12's table: schema name -> [(slot, group), ...] in slot order."""
    table = spec.split("<!-- kinds:begin -->")[1].split("<!-- kinds:end -->", maxsplit=1)[0]
    found = {}
    for line in table.splitlines():
        if not line.startswith("| `"):
            continue
        kind, opened, closed = (cell.strip() for cell in line.strip("| ").split(" | "))
        slots = [("schema", "open"), ("ts", "open")] + [(n, "open") for n in re.findall("`(.*?)`", opened)]
        for group in closed.split("; "):
            if ":" in group:
                c, names = group.split(": ")
                slots += [(n, c) for n in re.findall("`(.*?)`", names)]
        name = kind.strip("`")
        found[name if "/" in name else name + "/1"] = slots  # a number is written from 2 on
    return found


def strict(text: str) -> Any:
    """Section 2, by way of rfc8785."""
    value = json.loads(
        text, parse_float=lambda _: need(False, "float"), parse_constant=lambda _: need(False, "nan")
    )
    need(rfc8785.dumps(value) == text.encode(), "canonical")
    return value


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, by its own recursion."""
    if not hashes:
        return sha(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha(b"\x01" + root(hashes[:k]) + root(hashes[k:]))


def commitment(k: int, salt: str, name: str, value: Any) -> bytes:
    return sha(b"\x00umb/f/1" + k.to_bytes(2, "big") + rfc8785.dumps([salt, name, value]))


def xaes_open(key: bytes, nonce: bytes, ct: bytes, aad: bytes) -> bytes:
    def block(x: bytes) -> bytes:
        return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(x)  # noqa: S305

    el = block(bytes(16))
    bits = int.from_bytes(el, "big") << 1
    k1 = (bits ^ (1 << 128) ^ 0x87 if bits >> 128 else bits).to_bytes(16, "big")
    derived = b""
    for counter in (1, 2):
        m = bytes([0, counter]) + b"X\x00" + nonce[:12]
        derived += block(bytes(a ^ b for a, b in zip(m, k1, strict=True)))
    return AESGCM(derived).decrypt(nonce[12:], ct, aad)


def short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


class Policy:
    def __init__(self, text: str) -> None:
        words = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
        (self.vkey,) = (w[1] for w in words if w[0] == "log")
        passed = [(int(w[1]), w[2], base64.b64decode(w[3])) for w in words if w[0] == "handover"]
        vkeys = [vkey for _, vkey, _ in passed] + [self.vkey]
        self.handovers = [(at, before, vkeys[n + 1], signed) for n, (at, before, signed) in enumerate(passed)]
        (self.genesis,) = (bytes.fromhex(w[1]) for w in words if w[0] == "genesis")
        self.origin, key_id, raw = self.vkey.split("+", 2)
        public = base64.b64decode(raw)
        need(public[0] == 1, "key type")
        self.public = public[1:]
        self.key_id = sha(self.origin.encode() + b"\n" + public)[:4]
        need(self.key_id.hex() == key_id, "key id")
        self.chain, _, gen = self.origin.removeprefix("umbridge.").rpartition("/")
        self.gen = int(gen)

        need(sorted({at for at, *_ in passed}) == [at for at, *_ in passed], "handovers in order")
        for one in self.handovers:
            check_handover(*one, self.origin)

    def signer(self, size: int) -> bytes:
        """Section 18: the public key that answers for a checkpoint of this size, with its type before it."""
        for at, before, _, _ in self.handovers:
            if size <= at:
                return base64.b64decode(before.split("+", 2)[2])
        return base64.b64decode(self.vkey.split("+", 2)[2])

    def checkpoint(self, note: str) -> tuple[int, bytes]:
        body, _, line = note.partition("\n\n")
        origin, size, head = body.split("\n")
        need(origin == self.origin and re.fullmatch("0|[1-9][0-9]*", size), "checkpoint")
        raw = base64.b64decode(line.split(" ")[2])
        need(line == f"— {origin} {base64.b64encode(raw).decode()}\n", "signature line")
        public = self.signer(int(size))
        need(raw[:4] == sha(origin.encode() + b"\n" + public)[:4] and len(raw) == 68, "key")
        Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw[4:], (body + "\n").encode())
        digest = base64.b64decode(head)
        need(len(digest) == 32 and base64.b64encode(digest).decode() == head, "root")
        return int(size), digest


def check_handover(at: int, before: str, after: str, signed: bytes, origin: str) -> None:
    said = f"umbridge/handover/1\n{origin}\n{at}\n{before}\n{after}\n".encode()
    need(at > 0 and len(signed) == 128 and before != after, "handover")
    for vkey, signature in ((before, signed[:64]), (after, signed[64:])):
        name, _, raw = vkey.split("+", 2)
        need(name == origin, "handover's name")
        Ed25519PublicKey.from_public_bytes(base64.b64decode(raw)[1:]).verify(signature, said)


def check_leaf(raw: bytes, policy: Policy, seq: int, prev: bytes | None) -> Any:
    need(len(raw) <= 65535, "leaf length")
    leaf = strict(raw.decode())
    need(list(leaf) == ["chain", "fields", "gen", "parts", "prev", "seq", "v"], "leaf keys")
    need(type(leaf["v"]) is int and leaf["v"] == 2 and type(leaf["seq"]) is int and leaf["seq"] == seq, "seq")
    need(leaf["chain"] == policy.chain and type(leaf["gen"]) is int and leaf["gen"] == policy.gen, "chain")
    need(re.fullmatch("[0-9a-f]{64}", leaf["fields"]), "fields")
    if prev is None:
        need(sha(b"\x00" + raw) == policy.genesis, "genesis")
    else:
        need(leaf["prev"] == prev.hex(), "prev")
    return leaf


def check_slots(
    opened: Any,
    hidden: dict[Any, bytes],
    fields: str,
    table: dict[str, list[tuple[str, str]]],
    later: dict[str, int] | None = None,
) -> Any:
    """``hidden`` has slots by number and compartments by name. Kinds that are not in the table are counted in
    ``later``, where it is given; their compartments must all be hidden."""
    hashes = dict(hidden)
    values = {}
    slots = None
    for k, salt, name, value in opened:
        need(type(k) is int and k not in hashes and len(base64.b64decode(salt)) == 32, "opening")
        if slots is None:
            need(k == 0 and name == "schema", "schema first")
            if value not in table and later is not None:
                need(re.fullmatch(r"[a-z_]+(\.[a-z_]+){0,2}/[1-9][0-9]{0,3}", value), "kind")
                later[value] = later.get(value, 0) + 1
                slots = [(each[2], "open") for each in opened]
                slots += [(c, c) for c in ORDER if c in hidden]
            else:
                slots = table[value]
        need(slots[k][0] == name, "slot name")
        hashes[k] = commitment(k, salt, name, value)
        values[name] = value
    if slots is None:
        first = sum(1 for k in hashes if type(k) is int)
        rows = [hashes.pop(k) for k in range(first)] + [hashes.pop(c) for c in ORDER if c in hashes]
    else:
        rows = [hashes.pop(k) for k, (_, group) in enumerate(slots) if group == "open"]
        for c in ORDER:
            mine = [k for k, (_, group) in enumerate(slots) if group == c]
            if mine:
                rows.append(hashes.pop(c) if c in hashes else root([hashes.pop(k) for k in mine]))
    need(not hashes, "slots left over")
    need(root(rows).hex() == fields, "fields root")
    return slots, values


def ledger(
    path: Path,
    policy_text: str,
    spec: str,
    keys: dict[str, bytes] | None = None,
    later: dict[str, int] | None = None,
) -> int:
    """Holds, or raises. Returns the number of entries. ``keys`` maps kid to DEK.

    Entries of kinds that the page does not have raise, or are counted in ``later``.
    """
    policy, table = Policy(policy_text), kinds(spec)
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    rows = db.execute("SELECT seq, leaf, open, closed FROM ledger_entry ORDER BY seq").fetchall()
    parts: dict[int, dict[str, bytes]] = {}
    for seq, c, ct in db.execute("SELECT seq, c, ct FROM ledger_part"):
        parts.setdefault(seq, {})[c] = ct
    notes = db.execute("SELECT n, note FROM ledger_checkpoint ORDER BY n").fetchall()
    db.close()
    hashes: list[bytes] = []
    commits: dict[str, tuple[str, str]] = {}
    handed = list(policy.handovers)
    for at, (seq, raw, opened_text, closed) in enumerate(rows):
        need(seq == at, "row number")
        leaf = check_leaf(raw, policy, at, hashes[-1] if hashes else None)
        opened = strict(opened_text)
        known = table.get(opened[0][3])
        if known is None and later is not None:
            first, groups = len(opened), [part["c"] for part in leaf["parts"]]
        else:
            known = table[opened[0][3]]
            first = sum(1 for _, group in known if group == "open")
            groups = [c for c in ORDER if any(group == c for _, group in known)]
        need([k for k, *_ in opened] == list(range(first)), "open slots")
        need(len(closed) == 32 * len(groups), "closed")
        hidden = {c: closed[32 * i : 32 * i + 32] for i, c in enumerate(groups)}
        slots, values = check_slots(opened, hidden, leaf["fields"], table, later)
        if at == 0:
            config = values["config"]
            need(sha(b"umbridge/genesis/1" + config.encode()).hex() == leaf["prev"], "genesis prev")
            need(strict(config)["chain"] == policy.chain, "config")
        mine = parts.pop(at, {})
        need([p["c"] for p in leaf["parts"]] == groups and sorted(mine) == sorted(groups), "parts")
        for part in leaf["parts"]:
            need(sorted(part) == ["c", "h", "kid", "n"], "part keys")
            ct = mine[part["c"]]
            need(
                sha(ct).hex() == part["h"],
                "ciphertext",
            )
            need(part["kid"].startswith(part["c"] + ".") and part["kid"] in commits, "kid")
            nonce = base64.b64decode(part["n"])
            need(len(nonce) == 24, "nonce")
            if keys is not None and known is not None:
                check_part(keys[part["kid"]], leaf, part, ct, slots, hidden)
        if values["schema"] == "key.handover/1":
            shown = (at, values["before"], values["after"], base64.b64decode(values["signatures"]))
            check_handover(*shown, policy.origin)
            need(handed and handed.pop(0) == shown, "handover")
        if values["schema"] in ("key.create/1", "key.rotate/1"):
            pair = (values["alg"], values["commit"])
            need(commits.setdefault(values["kid"], pair) == pair, "key entry")
            if keys is not None and values["kid"] in keys:
                made = sha(b"umb/dek/1" + short(values["kid"]) + keys[values["kid"]]).hex()
                need(made == values["commit"], "key commit")
        hashes.append(sha(b"\x00" + raw))
    need(rows and notes and not parts, "empty, or parts left over")
    need(all(at >= len(rows) for at, *_ in handed), "a handover is missing")
    last = 0
    for at, (n, note) in enumerate(notes):
        size, head = policy.checkpoint(note)
        need(n == at and last < size <= len(hashes) and root(hashes[:size]) == head, "checkpoint")
        last = size
    return len(rows)


def check_part(key: bytes, leaf: Any, part: Any, ct: bytes, slots: Any, hidden: dict[int, bytes]) -> None:
    chain = leaf["chain"].encode()
    aad = b"umb/part/1" + len(chain).to_bytes(2, "big") + chain + leaf["gen"].to_bytes(4, "big")
    aad += leaf["seq"].to_bytes(8, "big") + bytes.fromhex(leaf["prev"]) + bytes.fromhex(leaf["fields"])
    plain = xaes_open(key, base64.b64decode(part["n"]), ct, aad + short(part["c"]) + short(part["kid"]))
    size = int.from_bytes(plain[:4], "big")
    need(len(plain) % 256 == 0 and 0 <= len(plain) - 4 - size < 256 and not any(plain[4 + size :]), "padding")
    body = strict(plain[4 : 4 + size].decode())
    values = dict(body["values"])
    need(None not in values.values() and [k for k, _ in body["values"]] == sorted(values), "values")
    mine = [k for k, (_, group) in enumerate(slots) if group == part["c"]]
    need(set(values) <= set(mine), "slots of the part")
    salts = hashlib.shake_256(b"umb/salts/1" + base64.b64decode(body["secret"])).digest(32 * len(mine))
    made = [
        commitment(k, base64.b64encode(salts[32 * j : 32 * j + 32]).decode(), slots[k][0], values.get(k))
        for j, k in enumerate(mine)
    ]
    need(root(made) == hidden[part["c"]], "commitments")


def bundle(path: Path, policy_text: str, spec: str) -> int:
    """Holds, or raises. Returns the number of entries."""
    policy, table = Policy(policy_text), kinds(spec)
    pieces = [path] if path.is_file() else sorted(path.glob("*.jsonl"), key=lambda p: p.name.encode())
    data = b"".join(piece.read_bytes() for piece in pieces)
    need(data.endswith(b"\n"), "end")
    lines = data[:-1].split(b"\n")
    manifest = strict(lines[0].decode())
    n = manifest["count"]
    need(manifest["format"] == "umbridge-bundle/2" and manifest["origin"] == policy.origin, "manifest")
    need(manifest["range"] == [0, n - 1], "range")
    digest = sha(b"".join(line + b"\n" for line in lines[: n + 1])).hex()
    hashes: list[bytes] = []
    exports = 0
    for at, line in enumerate(lines[1:-1]):
        value = strict(line.decode())
        raw = value["leaf"].encode()
        leaf = check_leaf(raw, policy, at, hashes[-1] if hashes else None)
        hashes.append(sha(b"\x00" + raw))
        if at >= n and sorted(value) == ["leaf"]:
            continue
        need(sorted(value) == ["hidden", "leaf", "open"], "line keys")
        order = [k if type(k) is int else 1000 + ORDER.index(k) for k, _ in value["hidden"]]
        need(order == sorted(set(order)), "order")
        need([k for k, *_ in value["open"]] == sorted({k for k, *_ in value["open"]}), "order")
        hidden = {k: bytes.fromhex(h) for k, h in value["hidden"]}
        need(all(hidden[k].hex() == h for k, h in value["hidden"]), "hex")
        _, values = check_slots(value["open"], hidden, leaf["fields"], table)
        if at >= n:
            exports += 1
            need(values["schema"] == "access.export/1" and values["bundle_digest"] == digest, "digest")
            need(values["count"] == n and values["policy_hash"] == manifest["policy_hash"], "count, policy")
    last = strict(lines[-1].decode())
    need(list(last) == ["checkpoint"] and exports == 1 and len(hashes) > n, "shape")
    need(policy.checkpoint(last["checkpoint"]) == (len(hashes), root(hashes)), "checkpoint")
    return len(hashes)


def path_root(index: int, size: int, path: list[bytes], here: bytes) -> bytes:
    """Section 15: the root that a path leads to, by RFC 6962's own division of the tree."""
    if size == 1:
        need(not path, "path too long")
        return here
    k = 1
    while k * 2 < size:
        k *= 2
    need(path, "path too short")
    if index < k:
        return sha(b"\x01" + path_root(index, k, path[:-1], here) + path[-1])
    return sha(b"\x01" + path[-1] + path_root(index - k, size - k, path[:-1], here))


def receipt(text: str, policy_text: str, spec: str) -> dict[str, Any]:
    """Holds, or raises. Returns what it shows."""
    policy, table = Policy(policy_text), kinds(spec)
    head, _, note = text.partition("\n\n")
    first, extra, index, *hashes = head.split("\n")
    need(first == "c2sp.org/tlog-proof@v1" and extra.startswith("extra "), "first lines")
    need(re.fullmatch("index (0|[1-9][0-9]*)", index) and len(hashes) <= 63, "index")
    raw = [base64.b64decode(line) for line in (extra[6:], *hashes)]
    need([base64.b64encode(one).decode() for one in raw] == [extra[6:], *hashes], "base64")
    seq = int(index[6:])
    value = strict(raw[0].decode())
    need(sorted(value) == ["hidden", "leaf", "open"], "keys")
    data = value["leaf"].encode()
    leaf = strict(value["leaf"])
    need(leaf["chain"] == policy.chain and leaf["gen"] == policy.gen and leaf["seq"] == seq, "leaf")
    hidden = {k: bytes.fromhex(h) for k, h in value["hidden"]}
    _, values = check_slots(value["open"], hidden, leaf["fields"], table)
    size, root_there = policy.checkpoint(note)
    need(seq < size and path_root(seq, size, raw[1:], sha(b"\x00" + data)) == root_there, "path")
    return dict(values)
