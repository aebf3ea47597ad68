"""Kind 1 of what people who run interfaces met: which result a later message speaks of (``../shared/field``).

``tests/test_told.py`` and ``tests/test_account.py`` hold the same kinds with other values.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from umbridge.dryrun.screen import Shadow, read_files
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.screening.host import Host
from umbridge.settings.site import default_site

SITE = default_site()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    found = Host(call_seconds=60.0)
    found.start()
    yield found
    found.stop()


class Said:
    """A case's stay, and what interqual_like says of its admission."""

    def __init__(self, shared: Path, host: Host, name: str, *changes: tuple[bytes, bytes]) -> None:
        """``changes``: of the messages, where what is expected names another value as well."""
        shadow = Shadow(SITE)
        frames = [frame for _, frame in read_files([str(shared / "field" / name)])]
        for old, new in changes:
            assert any(old in frame for frame in frames)
            frames = [frame.replace(old, new) for frame in frames]
        for frame in frames:
            shadow.take(frame)
        assert shadow.unread == {}
        (lane,) = shadow.lanes.values()
        self._fold = lane.fold
        self.notes = {note for frame in frames for note in translate(er7.parse(frame), SITE.zone).notes}
        self.exceptions = lane.fold.stay(lane.as_of).exceptions
        rows: list[Any] = shadow.screen(host, None)
        (row,) = [r for r in rows if r["plugin"] == "interqual_like" and r["review"] == "ADMISSION"]
        self.outcome, self.missing, self.supported = row["outcome"], row["missing"], row["supported"]
        self.subset = row["subset"]

    def values(self, fact: str) -> list[str]:
        return [str(each.value) for each in self._fold.results(fact) or () if each.value is not None]


def test_f01_two_values_told_apart_by_their_sub_id(shared: Path, host: Host) -> None:
    said = Said(shared, host, "F01_subid_dropped/a2_subid_lactate_none14")
    assert said.values("sbp") == ["124", "78"]
    said = Said(shared, host, "F01_subid_dropped/dm_subid")
    assert said.values("sodium") == ["136", "121"]
    assert (said.outcome, said.supported) == ("MEETS", "ACUTE")


def test_f02_a_comment_takes_no_place(shared: Path, host: Host) -> None:
    said = Said(shared, host, "F02_comment_takes_place/k1_comment_then_num_same_code")
    assert said.values("sodium") == ["122"]
    assert (said.outcome, said.supported) == ("MEETS", "ACUTE")


@pytest.mark.parametrize("case", ["a1_rep", "a2_rep_rev"])
def test_f03_no_repetition_is_picked_by_position(shared: Path, host: Host, case: str) -> None:
    said = Said(shared, host, f"F03_obx5_repetition/{case}")
    assert said.values("sodium") == []
    assert (said.outcome, said.missing) == ("PEND", ["sodium"])


def test_f04_a_correction_with_another_time(shared: Path, host: Host) -> None:
    said = Said(shared, host, "F04_correction_other_time/a2_corr_newtime")
    assert said.values("sodium") == ["138"]
    assert (said.outcome, said.exceptions) == ("REFER", ())


def test_f04_a_withdrawal_with_another_time(shared: Path, host: Host) -> None:
    said = Said(shared, host, "F04_correction_other_time/a2_corr_newtime", (b"|C|", b"|W|"))
    assert said.values("sodium") == []
    assert (said.outcome, said.missing, said.exceptions) == ("PEND", ["sodium"], ())


def test_f05_a_correction_without_a_time(shared: Path, host: Host) -> None:
    said = Said(shared, host, "F05_correction_without_OBR7/a2_corr_no7")
    assert said.values("creatinine") == ["0.9", "0.9"]  # that of the first report, and the corrected one
    assert said.exceptions == ()


@pytest.mark.parametrize("case", ["a2_corr_no7_W", "dm_corr_no7_W"])
def test_f05_a_withdrawal_without_a_time(shared: Path, host: Host, case: str) -> None:
    said = Said(shared, host, f"F05_correction_without_OBR7/{case}")
    assert said.values("sodium") == []
    assert (said.outcome, said.missing) == ("PEND", ["sodium"])


def test_f06_a_report_withdrawn_whole(shared: Path, host: Host) -> None:
    said = Said(shared, host, "F06_OBR25_X/a2_obr25_X")
    assert said.values("sodium") == said.values("potassium") == []
    assert said.outcome == "PEND" and "sodium" in said.missing


def test_f10_a_date_is_a_day(shared: Path, host: Host) -> None:
    said = Said(shared, host, "F10_date_only_OBR7/i2_obr7_date_only")
    assert said.values("sodium") == ["122"]
    assert (said.outcome, said.supported) == ("MEETS", "ACUTE")


def test_f33_a_time_after_its_message_is_not_waited_for(shared: Path, host: Host) -> None:
    said = Said(shared, host, "F33_future_OBX14/i2_obx14_utc_nooffset")
    assert said.values("sodium") == ["122"]
    assert (said.outcome, said.supported) == ("MEETS", "ACUTE")
    assert any("OBX[" in note and note.endswith("-14 time_after_message") for note in said.notes)
