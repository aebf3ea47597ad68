"""umbridge-witness: cosigns a log's checkpoints, for another department to run. One small HTTP server.

https://c2sp.org/tlog-witness. It keeps the last head it cosigned for each log it knows, and refuses whatever
is not a continuation of it. It sees origin, size and root, and nothing of any entry.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import BoundedSemaphore

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from umbridge_audit.checkpoint import COSIGNATURE, MAX_NOTE, Checkpoint, VerifierKey, read_note, take_apart
from umbridge_audit.cosign import cosign
from umbridge_audit.entry import FormatError
from umbridge_audit.heads import Behind, HeadError, Heads, Inconsistent
from umbridge_audit.proof import exactly

MAX_BODY = 64 * 1024
MAX_PROOF = 63
SECONDS = 10  # a peer has so long for each read and write
AT_ONCE = 16
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})\Z")
_TEXT = "text/plain; charset=utf-8"


class Witness:
    """The rules, without the network: a request's body in, status and answer out."""

    def __init__(
        self,
        name: str,
        key: Ed25519PrivateKey,
        logs: Mapping[str, Sequence[VerifierKey]],
        heads: Heads,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.vkey = VerifierKey(name, key.public_key().public_bytes_raw(), COSIGNATURE)
        self._key = key
        self._logs = logs
        self._heads = heads
        self._clock = clock

    def add_checkpoint(self, body: bytes) -> tuple[int, str, str]:
        """Status, content type and body, as tlog-witness has them."""
        try:
            old, proof, note = read_request(body)
            claimed, _ = take_apart(note)
        except FormatError:
            return 400, _TEXT, "not an add-checkpoint request\n"
        log = self._logs.get(claimed.origin)
        if log is None:
            return 404, _TEXT, "unknown log\n"
        checkpoint = _signed(note, log)
        if checkpoint is None:
            return 403, _TEXT, "not signed by this log's key\n"
        if old > checkpoint.size:
            return 400, _TEXT, "old size is larger than the checkpoint's\n"
        try:
            self._heads.advance(old, proof, checkpoint)
        except Behind as exc:
            return 409, "text/x.tlog.size", f"{exc.size}\n"
        except Inconsistent:
            return 422, _TEXT, "the proof does not lead from the last checkpoint to this one\n"
        except (HeadError, OSError):
            return 500, _TEXT, "the witness cannot keep its state\n"
        return 200, _TEXT, cosign(checkpoint, self.vkey.name, self._key, int(self._clock()))

    def head(self, place: str) -> tuple[int, str, str]:
        """The last head cosigned for a log, named by the hex SHA-256 of its origin: for auditors."""
        for origin in self._logs:
            if sha256(origin.encode()).hexdigest() == place:
                last = self._heads.last(origin)
                if last.size:
                    line = cosign(last, self.vkey.name, self._key, int(self._clock()))
                    return 200, _TEXT, f"{last.body()}\n{line}"
        return 404, _TEXT, "nothing cosigned for this log\n"


def _signed(note: str, keys: Sequence[VerifierKey]) -> Checkpoint | None:
    """The checkpoint, if any of a log's keys signed the note: a log may have handed over to another."""
    for key in keys:
        try:
            return read_note(note, key, exact=False)
        except FormatError:
            continue
    return None


def read_request(body: bytes) -> tuple[int, list[bytes], str]:
    """Old size, proof and note of an add-checkpoint body. Raises FormatError."""
    if len(body) > MAX_BODY:
        raise FormatError("request too long")
    try:
        head, gap, note = body.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise FormatError("request is not UTF-8") from None
    first, *lines = head.split("\n")
    found = _OLD.match(first)
    if not gap or found is None or len(lines) > MAX_PROOF or len(note) > MAX_NOTE:
        raise FormatError("request lines")
    proof = [exactly(line) for line in lines]
    if any(len(hashed) != 32 for hashed in proof):
        raise FormatError("request proof")
    return int(found[1]), proof, note


def write_request(old: int, proof: list[bytes], note: str) -> bytes:
    """The body that asks a witness to go from size ``old`` to this note's."""
    lines = "".join(f"{b64encode(hashed).decode()}\n" for hashed in proof)
    return f"old {old}\n{lines}\n{note}".encode()


def server(witness: Witness, host: str, port: int) -> ThreadingHTTPServer:
    """The witness on a socket, not yet serving."""
    free = BoundedSemaphore(AT_ONCE)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "umbridge-witness"
        sys_version = ""
        timeout = SECONDS

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.path != "/add-checkpoint":
                self._answer(404, _TEXT, "not here\n", close=True)
            elif not re.fullmatch("[0-9]{1,6}", length) or int(length) > MAX_BODY:
                self._answer(413, _TEXT, "too long, or of no stated length\n", close=True)
            else:
                self._answer(*witness.add_checkpoint(self.rfile.read(int(length))))

        def do_GET(self) -> None:
            if self.path.startswith("/checkpoint/"):
                self._answer(*witness.head(self.path.removeprefix("/checkpoint/")))
            else:
                self._answer(404, _TEXT, "not here\n")

        def _answer(self, status: int, kind: str, text: str, *, close: bool = False) -> None:
            raw = text.encode()
            self.close_connection = self.close_connection or close
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Nothing: a peer's words do not reach a terminal."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

        def process_request(self, request: object, address: object) -> None:
            if free.acquire(timeout=SECONDS):
                super().process_request(request, address)  # type: ignore[arg-type]  # as the library hands it in
            else:
                self.shutdown_request(request)  # type: ignore[arg-type]  # the same

        def process_request_thread(self, request: object, address: object) -> None:
            try:
                super().process_request_thread(request, address)  # type: ignore[arg-type]  # the same
            finally:
                free.release()

        def handle_error(self, *_: object) -> None:
            """A peer that went away is no news, and its words are not printed."""

    return Server((host, port), Handler)


# --- the command --------------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Cosign another department's ledger: a fork or a rollback of it cannot be hidden from you."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="this witness's name, like a URL without its scheme")
def init(folder: Path, name: str) -> None:
    """Make a key and an empty state in FOLDER; print the line for the ledger's policy."""
    if (folder / "witness.key").exists():
        raise click.UsageError(f"{folder}: there is a witness already; nothing was changed")
    (folder / "state").mkdir(parents=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    vkey = VerifierKey(name, key.public_key().public_bytes_raw(), COSIGNATURE)
    try:
        VerifierKey.read(str(vkey), COSIGNATURE)
    except FormatError:
        raise click.UsageError("--name: no spaces and no plus sign") from None
    fd = os.open(folder / "witness.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(f"{name}\n{key.private_bytes_raw().hex()}\n")
    (folder / "logs").write_text("# one vkey a line: the logs that this witness cosigns\n")
    click.echo(f"witness w1 {vkey} http://HOST:PORT")


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=2590, show_default=True)
def serve(folder: Path, host: str, port: int) -> None:
    """Answer add-checkpoint for the logs named in FOLDER/logs. SIGTERM or Ctrl-C ends it."""
    lock = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        witness = load(folder)
        with server(witness, host, port) as running:
            click.echo(f"{witness.vkey} on http://{host}:{running.server_address[1]}")
            sys.stdout.flush()
            running.serve_forever()
    except BlockingIOError:
        raise click.ClickException(f"{folder}: another witness runs on this state") from None
    except KeyboardInterrupt:
        return
    finally:
        os.close(lock)


def load(folder: Path) -> Witness:
    """The witness that lives in a folder. Raises click.UsageError naming the file that is wrong."""
    key_file, logs_file = folder / "witness.key", folder / "logs"
    try:
        if key_file.stat().st_mode & 0o077:
            raise click.UsageError(f"{key_file}: open to group or others; chmod 600 it")
        name, seed = key_file.read_text().split("\n")[:2]
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    except OSError as exc:
        raise click.UsageError(f"{key_file}: {exc.strerror}") from None
    except ValueError:
        raise click.UsageError(f"{key_file}: not a witness's key") from None
    logs: dict[str, list[VerifierKey]] = {}
    for at, line in enumerate(logs_file.read_text().splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                log = VerifierKey.read(line.strip())
            except FormatError:
                raise click.UsageError(f"{logs_file}: line {at} is no log's vkey") from None
            logs.setdefault(log.name, []).append(log)
    return Witness(name, key, logs, Heads(folder / "state"))


if __name__ == "__main__":
    main()
