"""Kind 7 of what people who run interfaces met: messages set aside with no way out (``../shared/field``)."""

from __future__ import annotations

import runpy
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from umbridge.dryrun.screen import Shadow, read_files
from umbridge.hl7 import ack, er7
from umbridge.hl7.lines import MOST_SEGMENTS
from umbridge.hl7.translate import translate
from umbridge.model import RowState
from umbridge.settings.site import default_site

SITE = default_site()


@pytest.fixture
def field(shared: Path) -> Path:
    return shared / "field"


def only(path: Path) -> er7.Message:
    ((_, frame),) = read_files([str(path)])
    return er7.parse(frame)


@pytest.mark.parametrize("name", ["r42.hl7", "o59.hl7"])
def test_f25_a_trigger_of_the_standard_is_ignored_not_refused(field: Path, name: str) -> None:
    read = only(field / "F25_events_of_2_9" / name)
    assert ack.refusal(read) is None
    assert ack.used(read).state is RowState.IGNORED
    assert ack.code_due(read, None) == "AA"


@pytest.mark.parametrize("case", ["k1_multi", "k1_multi_patient_oru"])
def test_f26_each_patient_of_a_message_has_its_own_sodium(field: Path, case: str) -> None:
    shadow = Shadow(SITE)
    for _, frame in read_files([str(field / "F26_several_patients_no_way_out" / case)]):
        shadow.take(frame)
    assert shadow.unread == {}
    found = {lane: state.fold.results("sodium") for lane, state in shadow.lanes.items()}
    assert {lane: [str(one.value) for one in results or ()] for lane, results in found.items()} == {
        "ZQV4151286": ["122"],
        "ZQV4151287": ["121"],
    }
    assert [state.fold.stay(state.as_of).exceptions for state in shadow.lanes.values()] == [(), ()]


def test_f26_one_person_named_twice_does_not_wait(field: Path) -> None:
    shadow = Shadow(SITE)
    for _, frame in read_files([str(field / "F26_several_patients_no_way_out/k1_same_patient_two_pid")]):
        shadow.take(frame)
    assert shadow.unread == {}
    assert len(shadow.lanes) == 1


def test_f27_a_document_folded_into_lines_hides_no_result(
    field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = TextIOWrapper(BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    runpy.run_path(str(field / "F27_folded_pdf/make.py"))
    monkeypatch.undo()
    read = er7.parse(out.buffer.getvalue())
    assert len(read.raw.split(b"\r")) > MOST_SEGMENTS
    assert ack.used(read).state is RowState.PENDING
    assert [one.value for one in translate(read, SITE.zone).observations][-1] == "121"


@pytest.mark.parametrize("name", ["1_first.hl7", "2_second.hl7"])
def test_f30_a_fragment_is_set_aside_with_its_reason(field: Path, name: str) -> None:
    read = only(field / "F30_continuation" / name)
    assert ack.used(read) == ack.Disposition(RowState.QUARANTINED, "continued")


def test_f31_sequence_numbers_are_not_spoken(field: Path) -> None:
    """Documented in docs/intake.md: a link start is a message without an event."""
    refused = ack.refusal(only(field / "F31_sequence_numbers/link_start.hl7"))
    assert refused is not None
    assert refused.reason == "message_type_missing"
