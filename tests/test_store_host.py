"""The store and the machine against us: "Store and host" of the list of hostile inputs, item by item.

Each is refused in one line that names what and says what to do, with nothing written, or survived with
nothing lost. What a machine does not allow to be tried is skipped loudly.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import findings
import make_tables
import pytest
from installation import START_SECONDS, Inside, Installation, exchange
from test_ledger_attacks import kinds, said
from test_listener import acks
from test_receive import frame
from test_writer import accept, incoming, rows

from umbridge.commands import setup
from umbridge.errors import StoreError, UmbridgeError, UnavailableError
from umbridge.hl7 import mllp
from umbridge.run import daemon, overview
from umbridge.settings import config
from umbridge.store import durability, engine
from umbridge.store.durability import take_lock
from umbridge.store.opening import hold_writer, open_keys

SHM = Path("/dev/shm")  # noqa: S108 - it lies in memory: that is the point


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation that nobody has touched; each test spoils a copy."""
    return Installation(tmp_path_factory.mktemp("host") / "sound").directory


@dataclass(frozen=True)
class Place:
    directory: Path

    @property
    def settings(self) -> config.Settings:
        return config.load(self.directory / "umbridge.toml")

    @property
    def database(self) -> Path:
        return self.directory / "store" / engine.DATABASE

    def beside(self, end: str) -> Path:
        return self.database.with_name(self.database.name + end)

    def sql(self, *statements: str) -> None:
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    def write(self, key: bytes = b"zz1") -> None:
        """One message more, and a clean end."""
        settings = self.settings
        with hold_writer(settings, open_keys(settings)) as writer:
            accept(writer, incoming(key, b"ZZ one message"))

    def contents(self) -> dict[str, tuple[int, bytes | None]]:
        left = (self.database.name + "-wal", self.database.name + "-shm", "lock")
        return {
            str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
            for path in sorted((self.directory / "store").rglob("*"))
            if path.name not in left
        }


@pytest.fixture
def place(sound: Path, tmp_path: Path) -> Place:
    shutil.copytree(sound, tmp_path / "site")
    return Place(tmp_path / "site")


def start(place: Place) -> None:
    """The daemon, here and now, where it is expected to refuse: one that serves is stopped."""
    asyncio.run(asyncio.wait_for(daemon.Daemon(place.settings).run(), START_SECONDS / 4))


def linked(path: Path, to: Path) -> None:
    if path.exists():
        path.rename(to)
    path.symlink_to(to)


def touched(path: Path, mode: int) -> None:
    path.write_bytes(b"")
    path.chmod(mode)


def other_keys(place: Place) -> None:
    other = Installation(place.directory.parent / "other", stranger=True)
    shutil.rmtree(place.directory / "keys")
    shutil.copytree(other.directory / "keys", place.directory / "keys")


def yesterday(place: Place) -> None:
    kept = place.database.read_bytes()
    place.write()
    place.database.write_bytes(kept)


def given_away(place: Place) -> None:
    if os.geteuid() != 0:
        findings.skip("wrong_owner", "only root gives files away")
    os.chown(place.database, 61234, 61234)


def a_folder(place: Place) -> None:
    place.database.unlink()
    place.database.mkdir()


Spoil = Callable[[Place], Any]
#: what was done to the store: how, the exit code, words of the line. The words of the list first.
REFUSED: dict[str, tuple[Spoil, int, tuple[str, ...]]] = {
    "0644 database": (lambda p: p.database.chmod(0o644), 74, ("umbridge.db", "chmod 600")),
    "0644 log beside it": (lambda p: touched(p.beside("-wal"), 0o644), 74, ("umbridge.db-wal", "chmod 600")),
    "0640 index beside it": (lambda p: touched(p.beside("-shm"), 0o640), 74, ("umbridge.db-shm", "chmod")),
    "folder open to others": (lambda p: p.database.parent.chmod(0o755), 74, ("store", "chmod 710")),
    "symlinked database": (
        lambda p: linked(p.database, p.directory / "real.db"),
        74,
        ("umbridge.db", "symbolic link"),
    ),
    "symlink to nowhere": (
        lambda p: (p.database.unlink(), linked(p.database, p.directory / "gone.db")),
        74,
        ("umbridge.db", "symbolic link"),
    ),
    "symlinked lock": (
        lambda p: linked(p.database.parent / "lock", p.directory / "elsewhere"),
        74,
        ("lock", "symbolic link"),
    ),
    "a folder for a database": (a_folder, 74, ("umbridge.db", "not a regular file")),
    "no database": (lambda p: p.database.unlink(), 78, ("no store", "umbridge init")),
    "wrong owner": (given_away, 74, ("umbridge.db", "belongs to account 61234")),
    "wrong key": (other_keys, 78, ("log.key", "not the key that signs")),
    "yesterday's database": (yesterday, 74, ("anchor",)),
    "half-migrated: a table is missing": (
        lambda p: p.sql("DROP TABLE delivery_attempt"),
        74,
        ("table delivery_attempt", "restore a backup"),
    ),
    "half-migrated: a column has its next name": (
        lambda p: p.sql("ALTER TABLE inbox RENAME COLUMN reason TO why"),
        74,
        ("table inbox", "restore a backup"),
    ),
    "half-migrated: a column too many": (
        lambda p: p.sql("ALTER TABLE stay_head ADD COLUMN zz TEXT"),
        74,
        ("table stay_head", "restore a backup"),
    ),
    "half-migrated: an index is gone": (lambda p: p.sql("DROP INDEX inbox_lane"), 74, ("index inbox_lane",)),
    "half-migrated: an index is for other rows": (
        lambda p: p.sql("DROP INDEX inbox_lane", "CREATE INDEX inbox_lane ON inbox (lane, seq)"),
        74,
        ("index inbox_lane", "restore a backup"),
    ),
    "half-migrated: a table copied without its triggers": (
        lambda p: p.sql("DROP TRIGGER ledger_part_no_delete"),
        74,
        ("trigger ledger_part_no_delete",),
    ),
    "half-migrated: no version": (
        lambda p: p.sql("DELETE FROM meta"),
        74,
        ("does not say its version", "restore a backup"),
    ),
    "another version": (
        lambda p: p.sql("UPDATE meta SET value = '2' WHERE name = 'version'"),
        74,
        ("another version", "before there were upgrades"),
    ),
    "a later version": (
        lambda p: p.sql("UPDATE meta SET value = '9999' WHERE name = 'version'"),
        74,
        ("version 9999", "start the newer umbridge"),
    ),
    "an empty database": (lambda p: p.database.write_bytes(b""), 74, ("is empty", "restore a backup")),
    "a database that is not ours": (
        lambda p: (p.database.write_bytes(b""), p.sql("PRAGMA journal_mode=wal", "CREATE TABLE zz(a)")),
        74,
        ("cannot be read", "restore a backup"),
    ),
    "noise": (lambda p: p.database.write_bytes(b"zz" * 8192), 74, ("umbridge.db", "no database", "restore")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_the_store_is_one_line_and_nothing_is_written(place: Place, name: str) -> None:
    place.write(b"zz0")  # the control: until now it opens, and takes a message
    spoil, code, words = REFUSED[name]
    spoil(place)
    before = place.contents()
    with pytest.raises(UmbridgeError) as caught:
        start(place)
    said = str(caught.value)
    assert (caught.value.exit_code, "\n" in said) == (code, False), said
    assert all(word in said for word in words), said
    assert place.contents() == before


def test_what_a_start_looks_for_is_what_the_table_classes_say() -> None:
    assert engine.SHAPE.read_text(encoding="utf-8") == make_tables.text(), "run make vectors"


def test_a_start_loads_no_table_classes(tmp_path: Path) -> None:
    """In a process of its own: SQLModel and SQLAlchemy take longer to load than all the rest of a start."""
    place = Installation(tmp_path / "site")
    program = (
        "import sys; from pathlib import Path; from umbridge.run import daemon\n"
        "from umbridge.settings import config\n"
        "with daemon.answering(config.load(Path(sys.argv[1]))): pass\n"
        "print(*sorted({'sqlalchemy', 'sqlmodel', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(place.file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["sqlite3"]


def test_the_shape_of_a_store_is_read_and_not_only_its_version(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: nobody looks at the tables. A store that lacks one opens, and fails under a sender."""
    place.sql("DROP TABLE delivery_attempt")
    monkeypatch.setattr(engine, "_wanted", dict)
    with hold_writer(place.settings, open_keys(place.settings)) as writer:
        assert accept(writer, incoming(b"zz1", b"ZZ one")).ack == "AA"
        with pytest.raises(StoreError):
            accept(writer, incoming(b"zz1", b"ZZ one"))  # a repeat is the first to need it


def test_another_accounts_store_is_not_written_even_by_root(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of root's in it would keep the daemon's next start from opening them."""
    before = place.contents()
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    settings = place.settings
    with pytest.raises(UmbridgeError, match=f"belongs to account {us} and this is account {us + 1}"):
        place.write()
    assert (settings.store / engine.DATABASE).exists() and place.contents() == before
    monkeypatch.undo()
    place.write()  # the control


def test_other_daemons_lock(place: Place) -> None:
    held = take_lock(place.settings.store)
    with pytest.raises(UnavailableError, match="store/lock") as caught:
        start(place)
    assert caught.value.exit_code == 69
    os.close(held)
    place.write()  # the control: let go, it can be taken up


@contextlib.contextmanager
def mounted(where: Path, *words: str, why: str) -> Iterator[None]:
    done = subprocess.run(["mount", *words, str(where)], capture_output=True, check=False)
    if done.returncode:
        findings.skip(why, "needs root, and leave to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(where)], capture_output=True, check=False)


def serve(
    place: Place, *before: str, limits: tuple[int, int] | None = None
) -> subprocess.CompletedProcess[str]:
    """``umbridge serve`` where it is expected to end by itself."""
    return subprocess.run(
        [
            *before,
            sys.executable,
            "-B",  # under a limit of the file's size it would leave half a module compiled, for everybody
            "-m",
            "umbridge.commands.main",
            "serve",
            "--config",
            f"{place.directory}/umbridge.toml",
        ],
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
        preexec_fn=None if limits is None else lambda: resource.setrlimit(limits[0], (limits[1], limits[1])),
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.stdout == "" and "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_folder_that_cannot_be_written(place: Place) -> None:
    store = place.directory / "store"
    place.write(b"zz0")
    before = place.contents()
    if os.geteuid() == 0:
        with mounted(store, "--bind", str(store), why="read_only"):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(store)], check=True)
            with pytest.raises(OSError, match="store/lock") as caught:
                start(place)
    else:
        store.chmod(0o500)
        (store / "lock").unlink(missing_ok=True)
        with pytest.raises(OSError, match="store/lock") as caught:
            start(place)
        store.chmod(0o710)
    assert caught.value.strerror and place.contents() == before  # cli prints file and reason, exit 74
    place.write()


def test_full_disk_at_start(place: Place) -> None:
    """No byte free: the start says so. With room again everything is there."""
    place.write(b"zz0")
    store = place.directory / "store"
    size = sum(path.stat().st_size for path in store.iterdir() if path.is_file())
    aside = place.directory / "aside"
    store.rename(aside)
    store.mkdir(0o710)
    text = (place.directory / "umbridge.toml").read_text()
    accepted = text.replace('store = "store"', 'store = "store"\nstore_not_durable = "I accept"')
    if "store_not_durable" not in text:
        (place.directory / "umbridge.toml").write_text(accepted)
    with mounted(store, "-t", "tmpfs", "-o", f"size={size + (1 << 20)},mode=710", "tmpfs", why="disk_full"):
        for path in aside.iterdir():
            if path.is_file():
                shutil.copy2(path, store / path.name)
        filler = (store / "filler").open("wb", buffering=0)
        with filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        with pytest.raises(StoreError, match=r"disk .*room") as caught:
            start(place)
        assert caught.value.exit_code == 74
        (store / "filler").unlink()
        with hold_writer(place.settings, open_keys(place.settings)) as writer:  # room again
            assert accept(writer, incoming(b"zz1", b"ZZ after")).seq == 2


def test_a_disk_that_takes_no_more_at_start(place: Place) -> None:
    """The same without root: no file may grow beyond 8 kB, which SQLite hears as an I/O error."""
    place.write(b"zz0")
    done = serve(place, limits=(resource.RLIMIT_FSIZE, 8192))
    assert done.returncode == 74
    assert "umbridge.db" in last_line(done) and "disk" in last_line(done)
    place.write()


def test_db_on_tmpfs(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """What a power cut takes is not durable: refused, unless somebody says so, and then ``status`` does."""
    if not SHM.is_dir() or durability.weakness(SHM) is None or not os.access(SHM, os.W_OK):
        findings.skip("store_in_memory", "no /dev/shm in memory to lay a store in")
    where = SHM / f"zztest-{os.getpid()}"
    shutil.copytree(place.directory, where)
    try:
        there = Place(where)
        settings = (where / "umbridge.toml").read_text().replace('store_not_durable = "I accept"\n', "")
        (where / "umbridge.toml").write_text(settings)
        with pytest.raises(StoreError, match=r"tmpfs.*store_not_durable") as caught:
            start(there)
        assert caught.value.exit_code == 74
        assert setup.check(where / "umbridge.toml") == (74, None)
        assert "tmpfs" in capsys.readouterr().err
        accepted = settings.replace('store = "store"', 'store = "store"\nstore_not_durable = "I accept"')
        (where / "umbridge.toml").write_text(accepted)
        row = overview.status_row(there.settings, Quiet(), ({}, {}, [], {}, {}), running=False)
        assert any("tmpfs" in warning and "may be lost" in warning for warning in row["warnings"])
        durability.check_lasts(there.settings.store, there.settings.accepts_loss)
    finally:
        shutil.rmtree(where)


class Quiet:
    """As much of a writer as a line of status needs."""

    signer_away = ""

    class ledger:  # noqa: N801
        size = unanchored = 0
        apart = False


@pytest.mark.parametrize(
    ("kind", "word"),
    [("tmpfs", "gone"), ("ramfs", "gone"), ("nfs4", "network"), ("cifs", "network"), ("ext4", "")],
)
def test_the_file_system_is_told_by_its_device(tmp_path: Path, kind: str, word: str) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 0:5 / /elsewhere rw - tmpfs tmpfs rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} / /a\\040b rw master:1 - {kind} /dev/zz rw\nodd\n\n"
    )
    found = durability.weakness(tmp_path, mounts)
    assert (word in found) if found else not word
    assert durability.weakness(tmp_path, tmp_path / "no such file") is None


def test_missing_urandom_substitute(tmp_path: Path) -> None:
    """Keys come from the kernel's call and not from a device file that a container may lack or fake."""
    inside = "mount --bind /dev/zero /dev/urandom && head -c 4 /dev/urandom | od -An -tx1 && "
    inside += 'exec "$0" -c "from pathlib import Path as P; from umbridge_audit.keys import Keyring as K; '
    inside += '[K.create(P(f\\"$1/{n}/keys\\")) for n in (1, 2)]"'
    command = ["unshare", "-m", *([] if os.geteuid() == 0 else ["-U", "-r"]), "sh", "-c", inside]
    if shutil.which("unshare") is None:
        findings.skip("urandom", "needs unshare")
    done = subprocess.run(
        [*command, sys.executable, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    if not done.stdout:
        findings.skip("urandom", "needs a mount namespace of its own")
    assert (done.returncode, done.stdout.split()) == (0, ["00"] * 4), done.stderr
    keys = [(tmp_path / n / "keys" / name).read_bytes() for n in "12" for name in ("kek", "log.key")]
    assert len(set(keys)) == 4 and not any(key.startswith(bytes(8)) for key in keys)


def test_clock_1970(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is refused for the clock's sake: taken, set aside as from the future, and the step is told."""
    with hold_writer(installation.settings, open_keys(installation.settings)) as writer:
        accept(writer, incoming(b"zz0", b"ZZ today"))
    program = Path(__file__).parent / "planted" / "another_day.py"
    monkeypatch.setenv("ZZ_NOW", "1970-01-01T00:00:00+00:00")
    lost = installation.start((str(program),))
    try:
        assert acks(asyncio.run(exchange(lost.port, mllp.encode(frame())))) == [("AA", "ZZ1")]
        assert lost.stop() == 0
    finally:
        lost.kill()
    monkeypatch.delenv("ZZ_NOW")
    with hold_writer(installation.settings, open_keys(installation.settings)) as writer:
        assert "clock.step" in kinds(writer)
        (row,) = (row for row in rows(writer) if row.head["control_id"] == "ZZ1")
        assert (row.state, row.reason) == ("QUARANTINED", "from_the_future")
        assert said(installation.settings, writer).verdict == "PASS"
        received = writer.call(
            Inside(
                lambda batch: batch.cursor.execute("SELECT received_at FROM inbox ORDER BY seq").fetchall()
            )
        )
        assert [at[:4] for (at,) in received] == [f"{datetime.now(UTC):%Y}", "1970"]


def test_fd_limit_64(installation: Installation) -> None:
    """It serves what it can, says how little that is, and whoever comes too many is cut and counted."""
    limited = installation.start(("-c", LIMITED.format(kind="NOFILE", value=64)))
    try:
        assert "connections_limited_by_file_limit" in limited.log.read_text()

        async def scene() -> None:
            reader, stream = await asyncio.open_connection("127.0.0.1", limited.port)
            stream.write(mllp.encode(frame(id="ZZ0")))
            assert acks(await reader.readuntil(mllp.END)) == [("AA", "ZZ0")]
            for _ in range(40):
                with contextlib.suppress(OSError):
                    assert await exchange(limited.port, mllp.encode(frame(id="ZZX"))) == b""
            stream.write(mllp.encode(frame(id="ZZ1", visit="ZZV2")))
            assert acks(await reader.readuntil(mllp.END)) == [("AA", "ZZ1")]
            stream.close()

        asyncio.run(scene())
        status = limited.worked()
        assert status["feeds"][0]["refused_on_the_wire"] == {"too_many_connections": 40}
        assert limited.stop() == 0
    finally:
        limited.kill()
    with hold_writer(installation.settings, open_keys(installation.settings)) as writer:
        assert {row.head["control_id"] for row in rows(writer)} == {"ZZ0", "ZZ1"}


LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_{kind}, ({value}, {value})); "
    "from umbridge.commands.main import main; main()"
)


@pytest.mark.parametrize("left", [3 << 20, 12 << 20])
def test_3_mb_of_memory_left(installation: Installation, left: int) -> None:
    """It ends with 74 rather than linger half alive, and what it answered is there."""
    installation.edit(r"(?m)^pending_rows", "drain_seconds = 2.0\npending_rows")
    starved = installation.start()
    took: set[str] = set()
    try:
        pid = starved.process.pid
        (pages,) = Path(f"/proc/{pid}/statm").read_text().split()[:1]
        size = int(pages) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (size + left, resource.RLIM_INFINITY))
        for n in range(400):
            big = b"OBX|1|TX|ZZ||" + b"x" * (n * 50_000 % 5_000_000) + b"\r"
            with contextlib.suppress(OSError, TimeoutError):
                block = mllp.encode(frame(id=f"ZZ{n}", visit=f"ZZV{n}") + big)
                took.update(
                    name for code, name in acks(asyncio.run(exchange(starved.port, block))) if code == "AA"
                )
            if starved.process.poll() is not None or "stopping" in starved.log.read_text():
                break
        assert starved.process.wait(START_SECONDS) == 74
        assert "start again" in starved.log.read_text().splitlines()[-1]
    finally:
        starved.kill()
    with hold_writer(installation.settings, open_keys(installation.settings)) as writer:
        assert took <= {str(row.head["control_id"]) for row in rows(writer)}
        assert said(installation.settings, writer).verdict == "PASS"


# -- what a process that closes the file takes with it ------------------------------------------------------


def _locks(database: Path) -> list[str]:
    """The byte-range locks on the store's file, by whom."""
    inode = str(database.stat().st_ino)
    fields = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [each[4] for each in fields if each[1] == "POSIX" and each[5].rpartition(":")[2] == inode]


CLOSER = (
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT 1 FROM meta'); db.close()"
)


def test_a_daemon_keeps_its_hold_on_the_store_whatever_is_asked(installation: Installation) -> None:
    """A process loses every lock it has on a file when it closes any descriptor of it (POSIX). SQLite then
    lets the next stranger who closes the store, and believes to be the last, delete the log under us.
    """
    installation.roles("administrator", "compliance_auditor", "ur_nurse")
    daemon = installation.start()
    database = installation.settings.store / engine.DATABASE
    assert str(daemon.process.pid) in _locks(database)
    why = ("--purpose", "HPAYMT")
    questions = (
        ("status",), ("ledger", "list"), ("ledger", "show", "1"), ("ledger", "proof", "1"),
        ("ledger", "checkpoint"), ("ledger", "verify"), ("messages", "list"), ("stays", "list", *why),
        ("reviews", "list", *why), ("backup", "create", "--out", str(installation.directory / "copy.backup")),
    )  # fmt: skip
    for words in questions:
        installation.run(*words, check=None)
        assert str(daemon.process.pid) in _locks(database), words
    log = database.with_name(f"{database.name}-wal")
    inode = log.stat().st_ino
    subprocess.run([sys.executable, "-c", CLOSER, str(database)], check=True)
    assert log.stat().st_ino == inode
    assert daemon.stop() == 0
