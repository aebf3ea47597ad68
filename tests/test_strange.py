"""What would end an order under a number that no order has: counted, and said while it may matter."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from test_fold import folded, told
from test_register import FLUIDS
from test_register import orm as told_order
from test_state import HERE, states

NAMED = ("99^ZZEHR", "71^ZZOTHER", "71^zzehr", "")


def not_found(fold: Any) -> list[str]:
    return [reason for _, reason in fold.unused_orders()]


@pytest.mark.parametrize("control", ["CA", "DC", "OC", "OD", "CR", "HD", "RP", "SC CA"])
@pytest.mark.parametrize("number", NAMED)
def test_an_end_under_a_number_that_no_order_has_is_for_a_person(number: str, control: str) -> None:
    """A number names one order (4.5.1.2): whether another was meant, or this one misspelt, nobody knows."""
    end = told_order(control[:2], number, 6, "ADTINPT", status=control[3:])
    for events in itertools.permutations((HERE[0], HERE[1], end)):
        fold = folded(*events)
        assert states(fold) == [("ED", 0, 3), ("INPATIENT", 3, None)]
        assert not_found(fold) == ["order_not_found"]
        assert "ORDER_NOT_FOUND" in told(fold)["exceptions"]
    settled = folded(HERE[0], HERE[1], end, told_order("CA", "71^ZZEHR", 7))
    assert (states(settled), told(settled)["exceptions"]) == ([("ED", 0, None)], [])
    placed = folded(HERE[0], HERE[1], told_order("NW", number, 5, "ADTINPT"), end)
    assert (told(placed)["exceptions"], not_found(placed)) == (["ADT_LAG"], [])


def test_it_matters_for_what_stood_before_it() -> None:
    end = told_order("CA", "99^ZZEHR", 6, "ADTINPT")
    assert told(folded(HERE[0], end))["exceptions"] == []  # counted, and nothing it could have meant
    assert not_found(folded(HERE[0], end)) == ["order_not_found"]
    later = folded(HERE[0], end, told_order("NW", "71^ZZEHR", 7, "ADTINPT"))
    assert told(later, 8)["exceptions"] == []
    registered = folded(HERE[0], HERE[2], end)  # an inpatient whose order nobody saw
    assert told(registered, 8)["exceptions"] == ["ORDER_NOT_FOUND"]
    other = folded(HERE[0], HERE[1], told_order("CA", "99^ZZEHR", 6, "ADTOBS"))
    assert told(other, 8)["exceptions"] == []
    discharge = folded(
        HERE[0], told_order("NW", "71^ZZEHR", 5, "ADTDC"), told_order("CA", "9^ZZB", 6, "ADTDC")
    )
    assert told(discharge, 8)["exceptions"] == ["ORDER_NOT_FOUND"]


@pytest.mark.parametrize("control", ["CA", "DC", "OC", "HD", "UA", "SC CM"])
def test_of_a_treatment_too(control: str) -> None:
    running = told_order("NW", "72^ZZEHR", 2, FLUIDS)
    end = told_order(control[:2], "99^ZZEHR", 6, FLUIDS, status=control[3:])
    for events in itertools.permutations((HERE[0], running, end)):
        fold = folded(*events)
        assert (told(fold)["exceptions"], not_found(fold)) == (["ORDER_NOT_FOUND"], ["order_not_found"])
    stopped = folded(HERE[0], running, end, told_order("DC", "72^ZZEHR", 7))
    assert (told(stopped)["exceptions"], not_found(stopped)) == ([], ["order_not_found"])
    assert told(folded(HERE[0], end))["exceptions"] == []
