"""Makes the kept store of the version that this program writes (stores.md); refuses one that is there.

Run it with the .venv of the commit whose store is to be kept: ``python tests/vectors/keep_store.py``.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
KEEP = ("anchor", "keys", "ledger.policy", "site.toml", "umbridge.toml", "users.toml")

SPELT = {  # PID-3 -> PV1-19
    "ZZK501^^^UMBH^PI": "ZZKV1",
    "ZZK502": "ZZKV2",
    "ZZK604^^^UMBH^MR": "ZZKV3",
    "ZZK503^^^2.999.1^MRN": "ZZKV4^^^2.999.1^VN",
}

#: Patient, visit, and what is said: an order's or a report's number with a visit, and without one.
NUMBERED = (
    ("ADT^A01", "ZZK701", "ZZKN1", ()),
    ("ADT^A01", "ZZK702", "ZZKN2", ()),
    ("ORU^R01", "ZZK701", "ZZKN1", ("OBR|1|ZZP1^ZZEHR|ZZF1^ZZLAB|BMP", "6.8||||||F")),
    ("ORU^R01", "ZZK701", "", ("OBR|1||ZZF1^ZZLAB|BMP", "4.2||||||C")),
    ("ORU^R01", "ZZK701", "", ("OBR|1|ZZP2^ZZEHR|ZZF2^ZZLAB|BMP", "3.9||||||F")),
    ("ORM^O01", "ZZK701", "ZZKN1", ("ORC|NW|ZZP2^ZZEHR", "OBR|1|ZZP2^ZZEHR||BMP")),
    ("ORU^R01", "ZZK702", "", ("OBR|1||ZZF1^ZZLAB|BMP", "5.9||||||C")),
)


def messages() -> list[bytes]:
    """Four sample stays, a repeat, a merge, two from the future, one for training, one that nobody reads.

    And stays whose patients have their numbers in other types, without an authority or in another spelling;
    results that name their visit and results that do not.
    """
    from umbridge.commands import sample

    now = datetime.now(UTC)
    stays = [sample.stay(number, now - timedelta(hours=3)) for number in range(4)]
    header = stays[0][0].decode().split("\r")[0].split("|")
    one, other = (stay[0].decode().split("PID|")[1].split("|")[2] for stay in stays[1:3])
    pid, later = f"PID|1||{one}||ZZTEST^X", now + timedelta(days=3)

    def mine(kind: str, control: str, *segments: str, at: datetime = now, processing: str = "P") -> bytes:
        fields = [*header[:6], f"{at:%Y%m%d%H%M%S}+0000", "", kind, control, processing, *header[11:]]
        return ("\r".join(["|".join(fields), *segments]) + "\r").encode()

    def said(patient: str, visit: str, what: tuple[str, ...]) -> list[str]:
        place = [f"PV1|1|I|4W^1|||||||||||||||INP|{visit}"] if visit else []
        whole = [each if each[:3] in ("ORC", "OBR") else f"OBX|1|NM|2823-3^K^LN||{each}" for each in what]
        whole = [each.replace("||||||", "|mmol/L|||||") for each in whole]
        return [f"PID|1||{patient}^^^UMBH^MR||ZZTEST^X", *place, *whole]

    return [
        *(frame for stay in stays for frame in stay),
        stays[0][0],
        mine("ADT^A40", "ZZK1", f"PID|1||{other}||ZZTEST^X", f"MRG|{one}"),
        mine("ADT^A08", "ZZK2", pid, "PV1|1|I||||||||||||||||ZZFUTURE", at=later),
        mine("ADT^A08", "ZZK3", pid, "PV1|1|I||||||||||||||||ZZLATER", at=later),
        mine("ADT^A08", "ZZK4", pid, "PV1|1|I", processing="T"),
        mine("ZZZ^Z99", "ZZK5", pid),
        *(
            mine(
                "ADT^A01", f"ZZK{n}", f"PID|1||{number}||ZZTEST^X", f"PV1|1|I|4W^1|||||||||||||||INP|{visit}"
            )
            for n, (number, visit) in enumerate(SPELT.items(), 6)
        ),
        mine("ADT^A40", "ZZK10", "PID|1||ZZK605^^^UMBH^MR||ZZTEST^X", "MRG|ZZK604"),
        *(
            mine(kind, f"ZZK{n}", *said(patient, visit, what))
            for n, (kind, patient, visit, what) in enumerate(NUMBERED, 11)
        ),
    ]


def main() -> None:
    from installation import Installation, exchange

    from umbridge.intake import delivery

    with tempfile.TemporaryDirectory() as folder:
        made = Installation(Path(folder) / "site", stranger=True)  # keys of its own
        daemon = made.start()
        try:
            named = [(f"zz{number}", frame) for number, frame in enumerate(messages())]
            asyncio.run(delivery.send_all("127.0.0.1", daemon.port, named, done=lambda _: None))
            asyncio.run(exchange(daemon.port, b"\x0bnothing like HL7\x1c\r"))
            asyncio.run(exchange(daemon.port, b"GET / HTTP/1.0\r\n\r\n"))
            daemon.worked()
            seq = made.rows("messages", "list", "--state", "QUARANTINED")[-1]["seq"]
            made.run("messages", "dismiss", str(seq), "--reason", "ZZ invented")
        finally:
            daemon.stop()
        database = made.settings.store / "umbridge.db"
        db = sqlite3.connect(database)
        (version,) = db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        out = HERE / f"store-{version}"
        (out / "store").mkdir(parents=True)  # a kept store is never made again
        shutil.copy(database, out / "store")
        for name in KEEP:
            source = made.directory / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, out / name)
    print(f"{out}: describe it in stores.md")


if __name__ == "__main__":
    main()
