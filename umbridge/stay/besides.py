"""What was told under the patient's other visits of numbers that this stay has: nothing of it counts here.

A correction or an end that found nothing where it was filed may mean what this stay goes on counting.
"""

from __future__ import annotations

from collections.abc import Callable

from umbridge.stay.elsewhere import Reported
from umbridge.stay.orders.order_statement import OrderStatement, Plain
from umbridge.stay.orders.register import Orders
from umbridge.stay.results.findings import Findings, Increment


def take(rows: Increment, findings: Findings, orders: Orders) -> None:
    """What one message says of results and orders."""
    findings.take(rows)
    for row in rows.get("orders", ()):
        said = OrderStatement(*row)
        orders.add(said)
        findings.told.tie(said.patient, said.filler, said.placer, is_order=True)
    for row in rows.get("plain", ()):
        plain = Plain(*row)
        orders.add_plain(plain)
        is_order = "facts" not in rows and "withdrawn" not in rows  # results name what they answer, too
        findings.told.tie(plain.patient, plain.filler, plain.placer, is_order=is_order)
    findings.settle(rows)


class Besides:
    """The results and orders of those messages, as if they were a stay's."""

    def __init__(self, whose: Callable[[str], str]) -> None:
        self._findings = Findings(whose)
        self._orders = Orders()

    def take(self, rows: Increment) -> None:
        take(rows, self._findings, self._orders)

    def forget(self) -> None:
        """Whose numbers are whose has changed."""
        for results in self._findings.by_fact.values():
            results.forget_looks()
        self._findings.find_again()
        self._orders.forget()

    def reported(self, is_own: Callable[[str], bool], stands: Callable[[str], str]) -> Reported:
        self._orders.settle(stands)
        return Reported(self._findings.by_fact, self._findings.told, is_own, self._orders)
