"""Treatments: the level they take, those just over or about to begin, and orders that nobody has read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_case import ARRIVAL, SITE, at, obx, orm, oru, seen, yes_no

from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Event, Order, Reading
from umbridge.settings.site import DEFAULT_SITE, parse_site
from umbridge.stay.dictionary import dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.orders.order_statement import UNREAD
from umbridge.stay.readings.treatments import NO_ORDER
from umbridge.stay.unused import unused
from umbridge.values.kinds import Level, ReviewType

NOW = ReviewType.CONTINUED_STAY


def shown(*events: Event, hours: float = 4) -> dict[str, Reading]:
    return seen(*events, hours=hours, review=NOW)


def value(found: dict[str, Reading], fact: str) -> object:
    return found[fact].latest.value if fact in found else None


def sent(event: Event, hours: float) -> Event:
    return replace(event, sent_at=at(hours), control_id=f"ZZ-{hours}")


# --- which level they take -----------------------------------------------------------------------------


def test_every_treatment_says_which_level_it_takes_or_is_known_to_say_none() -> None:
    without = {fact for fact, kind in dictionary().items() if kind.closed_world and kind.level is None}
    assert without == {
        *(
            "o2_therapy",
            "oral_antibiotic",
            "telemetry",
            "frequent_vitals",
        ),  # by o2_above_usual; by the content
        *("reperfusion_therapy", "renal_replacement"),
    }
    assert all(not kind.closed_world or kind.level != Level.HOME for kind in dictionary().values())
    levels = {fact: kind.level for fact, kind in dictionary().items() if kind.level is not None}
    assert (levels["iv_anticoagulant"], levels["niv"]) == (Level.ACUTE, Level.INTERMEDIATE)
    assert (levels["vasopressor"], len(levels)) == (Level.CRITICAL, 29)


@pytest.mark.parametrize(("code", "fact"), sorted(SITE.intensity_orders.items()))
def test_an_order_of_the_profile_is_its_treatment_while_it_is_in_force(code: str, fact: str) -> None:
    assert value(shown(orm(code, 1)), fact) is True
    assert value(shown(), fact) is False
    ended = shown(orm(code, 1), orm(code, 2, "DC"), hours=2 + 24.1)
    assert value(ended, fact) is False


# --- just over, or about to begin ------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "counts"), [(10.1, True), (33.9, True), (34, False), (40, False)])
def test_a_transfusion_counts_for_a_day_after_its_end(hours: float, counts: bool) -> None:
    events = (orm("BBRBC", 8), orm("BBRBC", 10, "DC"))
    found = shown(*events, hours=hours)["transfusion"]
    assert found.latest.value is counts
    assert found.latest.source == ("ZZ ORC@8" if counts else "ZZ ORC@10")


def test_one_that_never_ran_and_one_that_was_charted_as_off_do_not_count() -> None:
    later = replace(orm("BBRBC", 12), sent_at=at(8))
    cancelled = sent(orm("BBRBC", 9, "CA"), 9)
    assert value(shown(later, cancelled, hours=13), "transfusion") is False
    site = DEFAULT_SITE.read_text("utf-8").replace(
        "[observations.99UMB]\n", '[observations.99UMB]\nUMB-TX = "transfusion"\n'
    )
    events = (orm("BBRBC", 8), orm("BBRBC", 10, "DC"), oru(yes_no("UMB-TX", "N", 11)))
    found = seen(*events, hours=12, review=NOW, site=parse_site(site.encode()))
    assert value(found, "transfusion") is False  # somebody says so, later than the end
    before = (orm("BBRBC", 8), oru(yes_no("UMB-TX", "N", 9)), orm("BBRBC", 10, "DC"))
    found = seen(*before, hours=12, review=NOW, site=parse_site(site.encode()))
    assert value(found, "transfusion") is True


def test_no_other_treatment_counts_when_it_is_over() -> None:
    lasting = {fact for fact, kind in dictionary().items() if kind.hours_after or kind.hours_before}
    assert lasting == {"transfusion", "procedure_24h"}
    assert value(shown(orm("RXHEPINF", 1), orm("RXHEPINF", 2, "DC"), hours=2.1), "iv_anticoagulant") is False


@pytest.mark.parametrize(
    ("starts", "told", "counts"),
    [(3, 1, True), (28, 1, True), (28.1, 1, False), (20, 4, True), (20, 4.1, False)],  # seen at 4
)
def test_an_operation_counts_from_a_day_before_it_begins(starts: float, told: float, counts: bool) -> None:
    found = shown(sent(orm("PRLAPCHO", starts), told))
    assert value(found, "procedure_24h") is counts


@pytest.mark.parametrize(("hours", "counts"), [(33.9, True), (34, False)])
def test_and_for_a_day_after_it_was_done(hours: float, counts: bool) -> None:
    events = (orm("PRORTHO", 8), orm("PRORTHO", 10, "DC"))
    assert value(shown(*events, hours=hours), "procedure_24h") is counts


# --- orders that nobody has read ---------------------------------------------------------------------------

HEAD = "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|{at}||{kind}|{id}|P|2.5.1"
PERSON = "PID|1||7790004^^^UMBH^MR||ZZTEST^A||19600303|M|||||||||AC4"
VISIT = "PV1|1|E|ED|||||||||||||||EDP|VN4^^^UMBH^VN"


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")


def message(*segments: str, hours: float = 1, kind: str = "OMP^O09") -> Event:
    head = HEAD.format(at=stamp(at(hours)), kind=kind, id=f"ZZM{hours}-{len(segments)}")
    text = "\r".join((head, PERSON, VISIT, *segments)) + "\r"
    return translate(er7.parse(text.encode()), SITE.zone, "UMBH")


def drug(code: str, *routes: str, hours: float = 1, control: str = "NW", placer: str = "P7") -> Event:
    orc = f"ORC|{control}|{placer}^ZZEHR|||||||{stamp(at(hours))}||||||{stamp(at(hours))}"
    return message(orc, f"RXO|{code}^X^99UMB|1", *(f"RXR|{route}" for route in routes), hours=hours)


@pytest.mark.parametrize(
    ("code", "routes", "is_open"),
    [
        ("RXTIGECIV", ("IV^IV^HL70162",), True),
        ("RXTIGEC", ("IV",), True),
        ("RXTIGEC", ("PO",), False),
        ("RXTIGECIV", ("PO^^HL70162",), False),  # the route goes before how the code ends
        ("RXTIGEC", ("PO", "IV"), True),
        ("RXTIGEC", ("12^^99ZZ^IV^^HL70162",), True),  # the other code of RXR-1
        ("RXTIGECIV", (), True),
        ("RXTIGEC", (), False),
        ("RXCEFTRIV", ("IV",), False),  # a treatment that is known
        ("RXENOXSC", ("IV",), False),  # known to be none
        ("", ("IV",), True),
    ],
)
def test_an_unknown_drug_past_gut_and_skin_is_a_question(
    code: str, routes: Sequence[str], is_open: bool
) -> None:
    found = shown(drug(code, *routes))[UNREAD]
    assert found.latest.value is is_open
    assert found.latest.source.endswith(f"ORC[1] {code or 'uncoded'}" if is_open else NO_ORDER)


def test_only_drugs_are_asked_about() -> None:
    orc = f"ORC|NW|P7^ZZEHR|||||||{stamp(at(1))}"
    laboratory = message(orc, "OBR|1|P7^ZZEHR||LABHIV^HIV^99UMB", kind="ORM^O01")
    assert value(shown(laboratory), UNREAD) is False
    assert value(shown(message(orc, "RXO|RXTIGECIV^X^99UMB|1", kind="ORM^O01")), UNREAD) is True


def test_it_is_a_question_while_it_is_in_force_and_names_each_order() -> None:
    begun = drug("RXTIGECIV", "IV")
    by_number = message(f"ORC|DC|P7^ZZEHR|||||||{stamp(at(3))}||||||{stamp(at(3))}", hours=3)
    assert value(shown(begun, by_number, hours=2.9), UNREAD) is True
    assert value(shown(begun, by_number, hours=3.1), UNREAD) is False
    assert value(shown(begun, drug("RXTIGECIV", "IV", hours=2, control="DC")), UNREAD) is False
    two = shown(begun, drug("RXZZINF", hours=2, placer="P8"))[UNREAD].latest.source
    assert two.split("; ")[0].endswith("RXTIGECIV") and two.split("; ")[1].endswith("RXZZINF")


def test_a_pharmacy_that_gives_it_a_known_code_has_read_it() -> None:
    orc = f"ORC|{{}}|P7^ZZEHR|F7^ZZRX|||||||{stamp(at(2))}"
    coded = message(orc.format("XO"), "RXE||RXCEFTRIV^X^99UMB|1", "RXR|IV", hours=2, kind="RDE^O11")
    found = shown(drug("ZZ4711", "IV"), coded)
    assert (value(found, UNREAD), value(found, "iv_anti_infective")) == (False, True)
    again = shown(coded, drug("ZZ4711", "IV"))
    assert (value(again, UNREAD), value(again, "iv_anti_infective")) == (False, True)


def test_the_route_of_an_encoded_order_is_its_own_else_the_one_asked_for() -> None:
    orc = f"ORC|NW|P7^ZZEHR|||||||{stamp(at(1))}"
    asked = (orc, "RXO|ZZ1^X^99UMB|1", "RXR|IV")
    assert value(shown(message(*asked, "RXE||ZZ2^X^99UMB|1", kind="RDE^O11")), UNREAD) is True
    assert value(shown(message(*asked, "RXE||ZZ2^X^99UMB|1", "RXR|PO", kind="RDE^O11")), UNREAD) is False


def test_it_stays_listed_as_not_used_so_that_somebody_maps_it() -> None:
    assert [each.reason for each in unused(drug("RXTIGECIV", "IV"), SITE)] == ["order_unmapped"]


def test_it_makes_no_treatment_true_and_says_nothing_of_a_feed_that_leaves_orders_out() -> None:
    found = shown(drug("RXTIGECIV", "IV"))
    true = {fact for fact, kind in dictionary().items() if kind.closed_world and value(found, fact) is True}
    assert true == set()
    site = parse_site(
        DEFAULT_SITE.read_text("utf-8").replace("closed_world = true", "closed_world = false").encode()
    )
    assert UNREAD not in seen(hours=2, review=NOW, site=site)
    assert value(seen(drug("RXTIGECIV", "IV"), hours=2, review=NOW, site=site), UNREAD) is True


@given(st.permutations(range(4)))
def test_the_order_of_arrival_changes_nothing(order: list[int]) -> None:
    events = (
        drug("RXTIGECIV", "IV"),
        drug("RXZZINF", hours=2, placer="P8"),
        message(f"ORC|DC|P8^ZZEHR|||||||{stamp(at(3))}", hours=3),
        message(f"PR1|1||47562^Y^C4||{stamp(at(3))}|P", hours=3, kind="ADT^A08"),
    )
    fold = StayFold(SITE)
    fold.apply(ARRIVAL, 0)
    rows = [row for n in order if (row := fold.apply(events[n], n + 1)) is not None]
    found = seen(*events, hours=4, review=NOW)
    from umbridge.stay.readings.window import readings

    wanted = frozenset({UNREAD, "procedure_24h"})
    assert readings(fold, at(4), review=NOW, wanted=wanted) == {fact: found[fact] for fact in wanted}
    first = StayFold(SITE).apply(ARRIVAL, 0)
    kept = [row for row in (first, *rows) if row is not None]
    again = StayFold.restore(SITE, fold.head(), kept)
    assert readings(again, at(4), review=NOW, wanted=wanted) == {fact: found[fact] for fact in wanted}


def test_an_order_is_read_with_its_route() -> None:
    (order,) = drug("RXTIGECIV", "IV^^HL70162", "IM").orders
    assert isinstance(order, Order) and (order.routes, order.is_drug) == (("IV", "IM"), True)
    assert obx("8867-4", "80", 1).at - timedelta(hours=1) == at(0)
