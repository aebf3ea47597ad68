"""What a message's numbers are called in the store: keyed tokens, by which stays and messages are found.

A token's input is for ever: who changes it loses every stay there is.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

from umbridge_audit.keys import Keyring

from umbridge.hl7 import er7, translate
from umbridge.hl7.ack import PRODUCTION, processing_of
from umbridge.hl7.fields import identifiers_of
from umbridge.hl7.numbered import order_numbers
from umbridge.model import Patient
from umbridge.settings.site import SiteProfile
from umbridge.stay.identity import ACCOUNT, NUMBER, PATIENT, SPECIAL, VISIT, Named, event_of, naming, parts
from umbridge.stay.record import account_name, account_named, patient_key
from umbridge.store import search
from umbridge.store.numbered import ITSELF, giver_of
from umbridge.store.search import SEPARATOR

GIVERS_KEPT = 1000  # authorities of numbers


class Tokens:
    """Gives numbers their tokens; the same number under two authorities is two.

    What is no production message has tokens apart: it meets no real stay.
    """

    def __init__(self, keyring: Keyring, site: SiteProfile) -> None:
        self._keyring = keyring
        self._site = site
        self._key = keyring.token(NUMBER, "key")  # of numbers, which are too many for the slower token
        self._givers: dict[str, bytes] = {}

    def visit(self, who: translate.Identity, processing: str) -> bytes | None:
        if not who.visit:
            return None
        authority = self._site.at(who.facility).visits.of(who.visit_authority)
        return self._token(VISIT, who.visit, authority, _apart(processing))

    def account(self, who: translate.Identity, processing: str) -> bytes | None:
        if not who.account:
            return None
        authority = self._site.at(who.facility).accounts.of(who.account_authority)
        return self._token(ACCOUNT, who.account, authority, _apart(processing))

    def shown(self, who: translate.Identity) -> str:
        """What a list shows of where a message belongs: what ``lookup`` takes."""
        here = self._site.at(who.facility)
        visit = here.visits.name(who.visit, who.visit_authority)
        return visit or account_name(here.accounts.name(who.account, who.account_authority))

    def lookup(self, name: str) -> bytes:
        """The token of a visit as people name it: NUMBER, NUMBER^AUTHORITY, account:NUMBER."""
        account = account_named(name)
        if account:
            return self._token(ACCOUNT, *self._site.accounts.named(account), "")
        return self._token(VISIT, *self._site.visits.named(name), "")

    def person(self, key: str) -> bytes:
        """The token of a patient's number as stays show it."""
        return self._token(PATIENT, key, "", "")

    def patient(self, who: translate.Identity, processing: str) -> bytes | None:
        """The number that the fold knows the patient by."""
        key = patient_key(Patient(who.identifiers), self._site.at(who.facility))
        return self._token(PATIENT, key, "", _apart(processing)) if key else None

    def parts(
        self, message: er7.Message, who: translate.Identity, processing: str, received: str | datetime
    ) -> tuple[Named[bytes], ...]:
        """Each part's numbers, of a merge, a move, an update of the person, several patients' results.

        Empty: PID and PV1 say it all.
        """
        is_special = who.message_type == "ADT" and who.trigger in SPECIAL
        if not is_special and len(message.lines_of(b"PID")) < 2:
            return ()
        apart = _apart(processing)
        event = event_of(message, self._site, str(received))
        if not is_special and not event.several:
            return ()
        return tuple(
            naming(
                part, self._site, lambda kind, number, authority: self._token(kind, number, authority, apart)
            )
            for part in parts(event)
        )

    def named(self, message: er7.Message, received: str) -> tuple[Named[bytes], ...]:
        """The numbers of any message, part by part. ``received``: as the inbox has it."""
        who, processing = translate.identify(message), processing_of(message)
        patient = self.patient(who, processing)
        return self.parts(message, who, processing, received) or (
            Named(
                0,
                self.visit(who, processing),
                self.account(who, processing),
                () if patient is None else (patient,),
                numbers=self.numbers(message, processing),
            ),
        )

    def numbers(self, message: er7.Message, processing: str) -> tuple[bytes, ...]:
        """Those of the orders and reports that a message speaks of."""
        sent = order_numbers(message)
        if not sent:
            return ()
        apart = _apart(processing)
        return tuple([self._number(each, apart) for each in sent])

    def found_by(self, message: er7.Message, who: translate.Identity) -> tuple[bytes, ...]:
        """The tokens that a search for one of its patients or its control id has too."""
        identifiers = who.identifiers
        if len(message.lines_of(b"PID")) > 1:
            for pid in message.segments("PID")[1:]:
                identifiers += identifiers_of(message, pid.field(3), pid.field(2), pid.field(4))
        own = self._site.at(who.facility).mrns.own
        tokens = [
            search.patient(self._keyring, number, authority or own)
            for number, authority, _ in dict.fromkeys(identifiers)
            if number
        ]
        if who.control_id:
            tokens.append(search.control(self._keyring, who.control_id))
        return tuple(tokens)

    def _token(self, kind: str, number: str, authority: str, apart: str) -> bytes:
        if kind == NUMBER:
            return self._number(number, apart)
        if kind == PATIENT:
            return self._keyring.token_again(PATIENT, apart + number)
        return self._keyring.token_again(kind, apart + authority + SEPARATOR + number)

    def _number(self, number: str, apart: str) -> bytes:
        itself, _, giver = number.partition("^")
        known = self._givers.get(giver)
        if known is None:
            if len(self._givers) >= GIVERS_KEPT:
                self._givers.clear()
            space, _, universal = giver.partition("^")
            known = self._givers[giver] = giver_of(*(self._hash(each) for each in (space, universal)))
        return self._hash(apart + itself) + known

    def _hash(self, value: str) -> bytes:
        """Eight keyed bytes; none of what was not sent."""
        raw = value.encode("utf-8", "surrogatepass")
        return blake2b(raw, digest_size=ITSELF, key=self._key).digest() if value else b""


def _apart(processing: str) -> str:
    return "" if processing == PRODUCTION else processing + SEPARATOR
