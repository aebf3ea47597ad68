"""The site profile: everything HL7 leaves to the hospital, read once from TOML into one frozen value.

Local codes, units, payers, status precedence and review windows are here and nowhere else. A mistake in
the file is a :class:`~umbridge.errors.ConfigError` of one line: file, key, what was expected.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from umbridge.errors import ConfigError
from umbridge.model import Order
from umbridge.settings import charting, facilities, spellings
from umbridge.settings.authorities import Authority
from umbridge.settings.charting import DrugOrders
from umbridge.settings.parts import (
    ATTRIBUTIONS,
    DISCHARGE,
    DISPOSITIONS,
    ORDER_MEANINGS,
    PAYER_CLASSES,
    STATUS_FIELDS,
    AvoidableDay,
    StatusOrder,
    Unit,
    Windows,
)
from umbridge.settings.spellings import Spellings
from umbridge.values.kinds import Level, Status


@dataclass(frozen=True, slots=True)
class SiteProfile:
    """One hospital's local meaning. Build it with :func:`load_site` or :func:`parse_site`."""

    name: str
    zone: ZoneInfo
    facilities: tuple[str, ...]
    mrns: Authority
    mrn_types: tuple[str, ...]  # PID-3.5 in upper case: what is the patient's number, the preferred first
    visits: Authority
    accounts: Authority
    windows: Windows
    units: Mapping[str, Unit]
    precedence: tuple[str, ...]
    status_codes: Mapping[str, Mapping[str, Status]]
    status_orders: Mapping[str, StatusOrder]
    intensity_orders: Mapping[str, str]
    order_meanings: Mapping[str, str]  # ORC-5 in upper case -> one of ORDER_MEANINGS
    closed_world: bool
    drugs: DrugOrders
    assumptions: Mapping[str, str]  # what a chart is complete for -> the fact that says so
    payer_types: Mapping[str, str]
    payer_plans: Mapping[str, str]
    dispositions: Mapping[str, str]
    avoidable_days: Mapping[str, AvoidableDay]
    observations: Mapping[str, Mapping[str, str]]
    spellings: Spellings  # how senders write coding systems, units and answers
    digest: str  # "sha256:..." over the profile's values, whatever the file's comments and order
    source: str  # the file, for messages to people
    places: Mapping[str, SiteProfile] = field(compare=False, repr=False)  # by MSH-4; "" where none is listed

    def at(self, code: str) -> SiteProfile:
        """The profile as a message with this MSH-4 is read: its facility's clock and numbers."""
        return self.places.get(code) or self.places[""]

    @property
    def own_mrns(self) -> frozenset[str]:
        """What ``authority_in`` says of medical record numbers of the facilities."""
        own = {each.mrns.own for each in self.places.values()}
        return frozenset("" if each == self.mrns.first else each for each in own)

    @property
    def own_visits(self) -> frozenset[str]:
        """The same of visit numbers."""
        own = {each.visits.own for each in self.places.values()}
        return frozenset("" if each == self.visits.first else each for each in own)

    @property
    def mrn_authority(self) -> str:
        return self.mrns.own

    @property
    def visit_authority(self) -> str:
        return self.visits.own

    @property
    def account_authority(self) -> str:
        return self.accounts.own

    def naming(self) -> str:
        """What patients, visits and accounts are called by, as a digest."""
        return facilities.naming_of(
            (code, each.mrn_types, (each.mrns, each.visits, each.accounts))
            for code, each in self.places.items()
        )

    def as_spelt(self) -> SiteProfile:
        """The profile as if it knew no other spelling of an authority."""
        places: dict[str, SiteProfile] = {}
        for code, place in self.places.items():
            plain = {
                name: replace(getattr(place, name), aliases={}) for name in ("mrns", "visits", "accounts")
            }
            places[code] = replace(place, places=places, **plain)
        return places[""]

    def status_order(self, order: Order) -> StatusOrder | None:
        """The status order that the first known of an order's codes stands for."""
        found = self.status_orders.get(order.code.code)
        for code in order.alternates:
            found = found or self.status_orders.get(code.code)
        return found

    def treatment(self, order: Order) -> str | None:
        """The treatment fact that the first known of an order's codes stands for."""
        found = self.intensity_orders.get(order.code.code)
        for code in order.alternates:
            found = found or self.intensity_orders.get(code.code)
        return found

    def payer_class(self, plan_type: str, plan_id: str) -> str:
        """IN1-15 decides, then IN1-2.1; UNKNOWN where neither is listed."""
        return self.payer_types.get(plan_type) or self.payer_plans.get(plan_id) or "UNKNOWN"


#: Windows that a profile may leave out.
_USUAL_WINDOWS = {
    "extended_stay_day": 21,
    "first_review_grace_hours": 4,
    "second_midnight_alarm_hours": 2,
}


def load_site(path: Path | str) -> SiteProfile:
    """Read a profile. Raises ConfigError."""
    try:
        data = Path(path).read_bytes()
    except OSError:
        raise ConfigError(f"{path}: cannot be read; expected the site profile, a TOML file") from None
    return parse_site(data, str(path))


def default_site() -> SiteProfile:
    """The example profile that ships: what ``umbridge init`` copies and the demo runs on."""
    return load_site(DEFAULT_SITE)


DEFAULT_SITE = Path(__file__).with_name("default_site.toml")


def parse_site(data: bytes, source: str = "site profile") -> SiteProfile:
    """The same from bytes. Raises ConfigError."""
    try:
        tree = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(f"{source}: expected UTF-8 text") from None
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{source}: not valid TOML: {exc}") from None
    return _Reader(source).profile(tree)


class _Reader:
    """Walks the tree, naming the key in every complaint."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, key: str, expected: str) -> NoReturn:
        raise ConfigError(f"{self.source}: {key}: expected {expected}")

    def table(self, tree: object, key: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
        """A table; with ``keys``, exactly those keys, so that a misspelt one is never silently ignored."""
        if not isinstance(tree, dict):
            self.fail(key, "a table")
        if keys is not None:
            for name in tree:
                if name not in keys:
                    self.fail(f"{key}.{name}" if key else name, f"one of the known keys: {', '.join(keys)}")
            for name in keys:
                if name not in tree:
                    self.fail(f"{key}.{name}" if key else name, "this key, it is missing")
        return tree

    def text(self, value: object, key: str) -> str:
        if not isinstance(value, str) or not value:
            self.fail(key, "a text in quotes")
        return value

    def flag(self, value: object, key: str) -> bool:
        if not isinstance(value, bool):
            self.fail(key, "true or false")
        return value

    def count(self, value: object, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 100_000:
            self.fail(key, "a whole number from 1 to 100000")
        return value

    def one_of(self, value: object, key: str, known: tuple[str, ...]) -> str:
        if not isinstance(value, str) or value not in known:
            self.fail(key, f"one of {', '.join(known)}")
        return value

    def level(self, value: object, key: str) -> Level:
        return Level[self.one_of(value, key, tuple(Level.__members__))]

    def texts(self, value: object, key: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            self.fail(key, "a list of texts, at least one")
        return tuple(self.text(each, f"{key}[{n}]") for n, each in enumerate(value))

    def choices(self, tree: object, key: str, known: tuple[str, ...]) -> Mapping[str, str]:
        return MappingProxyType(
            {
                code: self.one_of(value, f"{key}.{code}", known)
                for code, value in self.table(tree, key).items()
            }
        )

    def profile(self, tree: dict[str, Any]) -> SiteProfile:
        keys = ("site", "windows", "units", "status", "orders", "payers", "dispositions", "avoidable_days")
        optional = dict.fromkeys(("assumptions", "facilities", *spellings.PARTS))
        self.table({**optional, **tree}, "", (*keys, "observations", *optional))
        site = dict.fromkeys(facilities.OPTIONAL) | self.table(tree["site"], "site")
        names = ("name", "timezone", "facilities", *facilities.AUTHORITIES, *facilities.OPTIONAL)
        own, others = facilities.read(self, self.table(site, "site", names), tree.get("facilities", {}))
        orders = {"meaning": {}, **charting.USUAL, **self.table(tree["orders"], "orders")}
        self.table(orders, "orders", ("status", "intensity", "meaning", *charting.USUAL))
        intensity = self.table(orders["intensity"], "orders.intensity")
        payers = self.table(tree["payers"], "payers", ("IN1-15", "IN1-2"))
        if "closed_world" not in intensity:
            self.fail("orders.intensity.closed_world", "this key, it is missing")
        precedence, status_codes = self._status(tree["status"])
        canonical = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
        places: dict[str, SiteProfile] = {}
        made = SiteProfile(
            name=self.text(site["name"], "site.name"),
            zone=own.zone,
            facilities=tuple(code for each in (own, *others) for code in each.codes),
            mrns=own.mrns,
            mrn_types=own.mrn_types,
            visits=own.visits,
            accounts=own.accounts,
            windows=self._windows(tree["windows"]),
            units=self._units(tree["units"]),
            precedence=precedence,
            status_codes=status_codes,
            status_orders=self._status_orders(orders["status"]),
            intensity_orders=MappingProxyType(
                {
                    code: self.text(value, f"orders.intensity.{code}")
                    for code, value in intensity.items()
                    if code != "closed_world"
                }
            ),
            order_meanings=self._order_meanings(orders["meaning"]),
            closed_world=self.flag(intensity["closed_world"], "orders.intensity.closed_world"),
            drugs=charting.drug_orders(self, orders),
            assumptions=charting.assumptions(self, tree.get("assumptions", {})),
            payer_types=self.choices(payers["IN1-15"], "payers.IN1-15", PAYER_CLASSES),
            payer_plans=self.choices(payers["IN1-2"], "payers.IN1-2", PAYER_CLASSES),
            dispositions=self.choices(tree["dispositions"], "dispositions", DISPOSITIONS),
            avoidable_days=self._avoidable(tree["avoidable_days"]),
            observations=self._observations(tree["observations"]),
            spellings=spellings.read(self, tree),
            digest="sha256:" + hashlib.sha256(canonical.encode()).hexdigest(),
            source=self.source,
            places=MappingProxyType(places),
        )
        places[""] = made
        for each in others:
            its = {name: getattr(each, name) for name in ("zone", "mrn_types", "mrns", "visits", "accounts")}
            places |= dict.fromkeys(each.codes, replace(made, **its))
        return made

    def _windows(self, tree: object) -> Windows:
        names = tuple(Windows.__dataclass_fields__)
        table = self.table({**_USUAL_WINDOWS, **self.table(tree, "windows")}, "windows", names)
        return Windows(**{name: self.count(table[name], f"windows.{name}") for name in names})

    def _units(self, tree: object) -> Mapping[str, Unit]:
        units: dict[str, Unit] = {}
        for code, value in self.table(tree, "units").items():
            key = f"units.{code}"
            entry = self.table(value, key)
            for name in entry:
                if name not in ("level", "ed", "name"):
                    self.fail(f"{key}.{name}", "one of the known keys: level, ed, name")
            units[code] = Unit(
                self.level(entry.get("level"), f"{key}.level"),
                self.flag(entry.get("ed", False), f"{key}.ed"),
                self.text(entry.get("name", code), f"{key}.name"),
            )
        return MappingProxyType(units)

    def _status(self, tree: object) -> tuple[tuple[str, ...], Mapping[str, Mapping[str, Status]]]:
        table = self.table(tree, "status")
        precedence = self.texts(table.get("precedence"), "status.precedence")
        for n, step in enumerate(precedence):
            self.one_of(step, f"status.precedence[{n}]", ("order", *STATUS_FIELDS))
            if step != "order" and step not in table:
                self.fail(f"status.{step}", "a table of codes, since status.precedence names it")
        if len(set(precedence)) != len(precedence):
            self.fail("status.precedence", "each step once")
        codes: dict[str, Mapping[str, Status]] = {}
        for name, value in table.items():
            if name == "precedence":
                continue
            if name not in precedence:
                self.fail(f"status.{name}", "a step that status.precedence names")
            known = self.choices(value, f"status.{name}", tuple(Status.__members__))
            codes[name] = MappingProxyType({code: Status(word) for code, word in known.items()})
        return precedence, MappingProxyType(codes)

    def _status_orders(self, tree: object) -> Mapping[str, StatusOrder]:
        orders: dict[str, StatusOrder] = {}
        allowed = (Status.INPATIENT, Status.OBSERVATION, Status.OUTPATIENT)
        for code, value in self.table(tree, "orders.status").items():
            key = f"orders.status.{code}"
            entry = self.table(value, key)
            word = self.one_of(entry.get("status"), f"{key}.status", (*(str(s) for s in allowed), DISCHARGE))
            if word == DISCHARGE:
                self.table(entry, key, ("status",))
                orders[code] = StatusOrder(None, None)
            else:
                self.table(entry, key, ("status", "level"))
                orders[code] = StatusOrder(Status(word), self.level(entry["level"], f"{key}.level"))
        return MappingProxyType(orders)

    def _order_meanings(self, tree: object) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for value, meaning in self.choices(tree, "orders.meaning", ORDER_MEANINGS).items():
            known = value.strip().upper()
            if not known or known in found:
                self.fail(f"orders.meaning.{value}", "a value of ORC-5, each once whatever its case")
            found[known] = meaning
        return MappingProxyType(found)

    def _avoidable(self, tree: object) -> Mapping[str, AvoidableDay]:
        days: dict[str, AvoidableDay] = {}
        for code, value in self.table(tree, "avoidable_days").items():
            key = f"avoidable_days.{code}"
            entry = self.table(value, key, ("code", "attribution"))
            days[code] = AvoidableDay(
                self.text(entry["code"], f"{key}.code"),
                self.one_of(entry["attribution"], f"{key}.attribution", ATTRIBUTIONS),
            )
        return MappingProxyType(days)

    def _observations(self, tree: object) -> Mapping[str, Mapping[str, str]]:
        systems: dict[str, Mapping[str, str]] = {}
        for system, value in self.table(tree, "observations").items():
            codes = self.table(value, f"observations.{system}")
            systems[system] = MappingProxyType(
                {code: self.text(fact, f"observations.{system}.{code}") for code, fact in codes.items()}
            )
        return MappingProxyType(systems)
