"""Certificates: both ends of MLLP over TLS, the feed a certificate names, why a handshake failed.

TLS 1.2 and later with forward secrecy and AEAD only (RFC 9325, BCP 195); the client certificate is required.
A certificate is known by its subjectAltNames, compared whole; common names and wildcards mean nothing here.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from umbridge.errors import ConfigError
from umbridge.settings.config import Settings

Context = ssl.SSLContext
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; all of TLS 1.3's will do
WARN_BEFORE = timedelta(days=30)

# X509_V_ERR_* (openssl/x509_vfy.h): a certificate of a time that is not now
_EXPIRED = {9: "tls_certificate_not_yet_valid", 10: "tls_certificate_expired"}
_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls_no_certificate",
    "CERTIFICATE_VERIFY_FAILED": "tls_certificate_untrusted",
    "UNSUPPORTED_PROTOCOL": "tls_version",
    "NO_PROTOCOLS_AVAILABLE": "tls_version",
    "WRONG_VERSION_NUMBER": "tls_not_tls",
    "HTTP_REQUEST": "tls_not_tls",
    "NO_SHARED_CIPHER": "tls_no_shared_cipher",
}


def server_context(certificate: Path, key: Path, ca: Path) -> Context:
    """What a listener shows and asks for. Raises ConfigError: which file, and what is wrong with it."""
    _private(key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _strict(made)
    made.verify_mode = ssl.CERT_REQUIRED
    made.options |= (
        ssl.OP_NO_TICKET
    )  # a session resumed would be one whose certificate is not looked at again
    made.num_tickets = 0
    _load(made, certificate, key)
    _trust(made, ca)
    return made


def contexts(settings: Settings) -> dict[tuple[str, ...], Context | None]:
    """One context for each port that has TLS, None for the others. Raises ConfigError."""
    made: dict[tuple[str, ...], Context | None] = {}
    for names in settings.ports:
        files = settings.feeds[names[0]].tls
        made[names] = None
        if files is not None:
            made[names] = server_context(*map(settings.path, (files.certificate, files.key, files.ca)))
    return made


def client_context(ca: Path | None, certificate: Path | None, key: Path | None) -> Context:
    """What a sender shows and believes; without ``ca`` the system's authorities. Raises ConfigError."""
    made = ssl.create_default_context()
    if ca is not None:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _trust(made, ca)
    _strict(made)
    if certificate is not None:
        _load(made, certificate, key or certificate)
    return made


def _strict(context: Context) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _load(context: Context, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        _readable(path)
    try:
        # an empty password: a key under a passphrase is refused, not asked for on a terminal nobody sits at
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            f"{certificate}, {key}: expected a PEM certificate and its private key, without a passphrase"
        ) from None


def _trust(context: Context, ca: Path) -> None:
    _readable(ca)
    try:
        context.load_verify_locations(cafile=ca)
    except ssl.SSLError:
        raise ConfigError(f"{ca}: expected PEM certificates of those who sign the peers'") from None


def _readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror})") from None


def _private(key: Path) -> None:
    _readable(key)
    if key.stat().st_mode & 0o077:
        raise ConfigError(f"{key}: readable by others; run chmod 600 on it")


def ends_at(certificate: Path) -> datetime:
    """When our own certificate stops being good (UTC). Raises ConfigError."""
    _readable(certificate)
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except ValueError:
        raise ConfigError(f"{certificate}: expected a PEM certificate") from None


def fingerprint(settings: Settings) -> str:
    """SHA-256 over who may send to which feed: senders, peers, and the certificates' public half."""
    told: dict[str, tuple[Sequence[str], Sequence[str], list[str]]] = {}
    for name, feed in sorted(settings.feeds.items()):
        files = feed.tls
        paths = (settings.path(files.certificate), settings.path(files.ca)) if files else ()
        for path in paths:
            _readable(path)
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        told[name] = (feed.senders, files.peers if files else (), digests)
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def warnings(settings: Settings) -> Iterator[str]:
    """What ``status`` says of feeds: plain text beyond this machine, certificates that end soon."""
    for name, feed in settings.feeds.items():
        if feed.tls is None:
            if not feed.loopback:
                yield f"feed {name}: plain text beyond loopback; whoever reaches it can read and send"
            continue
        try:
            end = ends_at(settings.path(feed.tls.certificate))
        except ConfigError as exc:
            yield f"feed {name}: {exc}"
            continue
        if end - datetime.now(UTC) < WARN_BEFORE:
            yield f"feed {name}: our certificate ends {end:%Y-%m-%d}; put a new one there and send SIGHUP"


def names_in(peer: Mapping[str, object] | None) -> frozenset[str]:
    """The subjectAltNames of ``getpeercert()``: DNS names in lower case, others as ``IP:…`` and ``URI:…``."""
    found = (peer or {}).get("subjectAltName", ())
    return frozenset(
        _spelled(kind, value)
        for kind, value in (found if isinstance(found, tuple) else ())
        if kind in ("DNS", "IP Address", "URI")
    )


def _spelled(kind: str, value: str) -> str:
    if kind == "DNS":
        return value.lower()
    return f"{'IP' if kind == 'IP Address' else kind}:{value}"


def named(peers: Iterable[str], names: frozenset[str]) -> bool:
    """Whether a certificate with these names is one of ``peers`` as the settings write them."""
    return any((peer if peer.startswith(("IP:", "URI:")) else peer.lower()) in names for peer in peers)


def why(exc: BaseException) -> str:
    """A code for a handshake that failed; never the library's text, which may quote the peer."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _EXPIRED.get(exc.verify_code, "tls_certificate_untrusted")
    if isinstance(exc, ssl.SSLError):
        return _REASONS.get(exc.reason or "", "tls_handshake_failed")
    # asyncio says ConnectionAbortedError when its own clock runs out, the system says that the peer went
    return "tls_handshake_timeout" if isinstance(exc, ConnectionAbortedError | TimeoutError) else "tls_closed"


def told(exc: OSError) -> str:
    """What a sender's own end says of a connection that failed: OpenSSL's name for it, or the system's."""
    if isinstance(exc, ssl.SSLError):
        return (exc.reason or type(exc).__name__).lower()
    return type(exc).__name__
