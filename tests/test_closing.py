"""What closes a review, what opens it again, and what leaves it as it is: worked as a caseworker does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from test_host import HEAD, install
from test_work import Book, one
from umbridge_audit.slots import SCHEMAS

from umbridge.casework.docket import Done
from umbridge.casework.work import Casework
from umbridge.criteria.host import Host
from umbridge.model import Outcome
from umbridge.site import default_site

START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
NUMBER = SCHEMAS["determination"].number
NAMES = {"pulse": "zz-one"}
#: A vendor's: 100 a minute and more meets, 150 and more is more than was asked for; it needs no diagnosis.
PULSE = HEAD.replace('("bun", "sbp")', '("heart_rate",)') + (
    """
@hookimpl
def umbridge_screen(case):
    told = case.facts.get("heart_rate")
    if told is None:
        return ScreenResult(Outcome.PEND, "cap", "2026.1", DIGEST, missing=("heart_rate",))
    met = Outcome.MEETS if told.high.value >= 100 else Outcome.REFER
    said = Outcome.MEETS_ADVISE_HIGHER if told.high.value >= 150 else met
    return ScreenResult(said, "cap", "2026.1", DIGEST)
"""
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("vendor")
    install(folder, "pulse", PULSE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        before = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", f"{folder}:{before}" if before else str(folder))
        found = Host(call_seconds=60.0)
        found.start(sorted(NAMES))
        yield found
        found.stop()


def stamp(hours: float) -> str:
    return (START + timedelta(hours=hours)).strftime("%Y%m%d%H%M%S+0000")


class Ward:
    """One stay, told message by message to one caseworker."""

    def __init__(self, host: Host) -> None:
        self.book = Book()
        self.book.task = self.book.task.__class__(
            0, self.book.task.lane, "zz", b"", 0, self.book.task.said, NAMES
        )
        self.work = Casework(default_site(), host, charsets={})
        self.count = 0
        self.done: Done | None = None

    def tell(self, kind: str, hours: float, *segments: str) -> Done:
        self.count += 1
        head = f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|{stamp(hours)}||{kind}|ZZC{self.count}|P|2.5.1"
        whole = [head, *([f"EVN||{stamp(hours)}"] if kind.startswith("ADT") else [])]
        whole += ["PID|1||ZZ4^^^UMBH^MR||ZZTEST^ALDER||19541110|F", *segments]
        frame = ("\r".join(whole) + "\r").encode()
        self.done = self.book.take(one(self.work, self.book.next(frame)))
        return self.done

    def arrive(self, hours: float = 0, diagnosis: str = "J18.9") -> Done:
        return self.tell("ADT^A04", hours, pv1("E", "ED^12", "EDP"), *dg1(diagnosis))

    def order(self, hours: float, code: str = "ADTINPT", control: str = "NW", placer: str = "P1") -> Done:
        orc = f"ORC|{control}|ZZ{placer}^ZZEHR|||||||{stamp(hours)}"
        return self.tell("ORM^O01", hours, pv1(), orc, f"OBR|1|ZZ{placer}^ZZEHR||{code}^{code}^99UMB")

    def pulse(self, value: int, collected: float, told: float, report: str = "R1", status: str = "F") -> Done:
        obr = f"OBR|1||ZZ{report}^ZZEHR|VITALS^VITALS^99UMB|||{stamp(collected)}"
        said = f"OBX|1|NM|8867-4^Heart rate^LN||{value}|/min^/min^UCUM|||||{status}|||{stamp(collected)}"
        return self.tell("ORU^R01", told, pv1(), obr, said)

    def state(self, kind: str = "ADMISSION") -> str:
        (found,) = [
            str(each.state)
            for name, each in self.book.task.said.reviews.items()
            if name.partition("-")[0] == kind
        ]
        return found


def pv1(patient_class: str = "", place: str = "", patient_type: str = "") -> str:
    return f"PV1|1|{patient_class}|{place}" + "|" * 15 + f"{patient_type}|ZZV4^^^UMBH^VN"


def dg1(code: str) -> list[str]:
    return [f"DG1|1||{code}^^I10|||A|||||||||1"] if code else []


def outcomes(done: Done) -> dict[str, Outcome]:
    return {each.plugin: each.outcome for each in done.determined}


def test_without_a_diagnosis_a_plugin_that_needs_none_is_not_asked_either(host: Host) -> None:
    ward = Ward(host)
    ward.arrive(diagnosis="")
    ward.pulse(120, 0.5, 0.6)
    done = ward.order(1)
    (said,) = done.determined
    assert said.outcome is Outcome.PEND
    assert said.texts[NUMBER["missing"]] == '["principal_diagnosis"]'
    assert ward.state() == "open"
    done = ward.tell("ADT^A08", 2, pv1("E", "ED^12", "EDP"), *dg1("J18.9"))
    assert outcomes(done) == {"pulse": Outcome.MEETS}
    assert ward.state() == "closed"
