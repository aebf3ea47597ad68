"""When the openings of a stay and its discharge took place, by what PV1-44 and PV1-45 said of them last.

A time that cannot be true beside the others is not taken; it is said.
"""

from __future__ import annotations

from umbridge.settings.site import SiteProfile
from umbridge.stay.clock import HOUR, MINUTE, local_date, start_of_day
from umbridge.stay.course.happening import STANDS, Happening, Left, Statement, Time


class Times:
    """The openings and the discharge that statements speak of, each with the times that were told of it."""

    def __init__(self, site: SiteProfile) -> None:
        self._site = site
        self._zone = site.zone
        self._skew = site.windows.future_skew_minutes * MINUTE
        self._ahead = site.windows.order_to_adt_hours * HOUR
        self.statements: list[Statement] = []
        self._touched: list[Statement] = []
        self._chain: list[Happening] = []  # openings since the stay was last opened
        self._out: Happening | None = None
        self._changed: Statement | None = None  # the last change of class whose PV1-44 said nothing new
        self._discharges: list[Happening] = []  # that stand

    def _is_said(self, opened: Happening, stated: Time) -> bool:
        """Whether a time is the known one of an opening: a day without an hour says no more than the day."""
        known = opened.at if opened.since is None else opened.since
        if stated.bare:
            return local_date(known, self._zone) == local_date(stated.at, self._zone)
        if opened.since is None:
            return known // MINUTE == stated.at // MINUTE
        return known == stated.at and not opened.is_bare

    def _is_known(self, stated: Time) -> bool:
        return any(self._is_said(each, stated) for each in self._chain)

    def _since(self, opened: Happening, stated: Time) -> None:
        """A later statement about when an opening took place; of those that had its time, too."""
        if self._is_known(stated):
            if opened.is_contradicted:
                opened.is_contradicted = False
                self._touched += opened.statements
            return
        left = None if self._out is None else self._out.left
        if stated.at > stated.told + self._skew or (left is not None and stated.at > left.at):
            opened.is_contradicted = True
            self._touched += opened.statements
            return
        before = opened.since
        if before is None:  # of the openings without a time, the one that was told next
            open_ones = [each for each in self._chain if each.since is None and each.told >= stated.at]
            opened = min(open_ones, key=lambda each: each.told, default=opened)
        last = self._chain[-1]
        is_last = (
            last.since == before and last.is_pinned and last.at <= stated.at and last is not self._chain[0]
        )
        if is_last:  # at or after the newest admission: that one's
            opened, before, last.is_pinned = last, None, False
        if self._is_after_telling(opened, stated.at):
            opened.is_contradicted = True
            self._touched += opened.statements
            return
        for each in self._chain:
            if each is opened or (before is not None and each.since == before):
                if not each.is_pinned:
                    each.at = stated.at
                    each.names.append(stated.at)
                each.since, each.is_bare, each.is_contradicted = stated.at, stated.bare, False
                self._touched += each.statements
        self._settle_discharge()

    def _is_after_telling(self, opened: Happening, at: int) -> bool:
        """Whether an opening would take place long after it had been told: nobody tells of what is to come.

        Some register a patient who is on the way: by no more than an order and its registration lie apart.
        """
        return bool(opened.statements) and at > max(opened.told + self._ahead, opened.at, opened.when)

    def _leave(self, found: Happening, stated: Time) -> None:
        known = found.times[-1].at if found.times else None
        if known is None or stated.deleted or not self._says(stated, known):
            found.times.append(stated)
            found.names.append(stated.at)
        self._settle_discharge()

    def _delete(self, name: str, said: Statement) -> None:
        """A time that was stated is stated no more: when its event was told is left (HL7 v2 ch. 2)."""
        record, found = said.record, self._out
        is_left = name == "discharged" and found is not None and bool(found.times)
        if is_left and found is not None and record.trigger != "A03":
            said.restated = found
            self._leave(found, Time(found.told, False, record.told, deleted=True))
        if name != "admitted" or record.trigger in ("A01", "A04", "A05", "A14") or not self._chain:
            return
        before = self._chain[-1].since
        for each in self._chain:
            if before is not None and each.since == before:
                each.since, each.is_bare, each.is_contradicted = None, False, False
                each.at = each.at if each.is_pinned else each.told
                self._touched += each.statements
        self._settle_discharge()

    def _says(self, stated: Time, known: int) -> bool:
        if stated.bare:
            return local_date(known, self._zone) == local_date(stated.at, self._zone)
        return known == stated.at

    def _settle_discharge(self) -> None:
        """The discharge's time, by the latest statement that can be true beside the others."""
        found = self._out
        if found is None:
            return
        opened = [each for each in self._chain if each.kind or not each.group]
        arrival = min((self._from(each) for each in opened), default=None)
        believed = next((each for each in reversed(found.times) if self._can_be(each, arrival)), None)
        at = max(found.told, arrival or found.told) if believed is None else believed.at
        latest = max((self._from(each) for each in opened), default=None)
        is_contradicted = (
            believed is not found.times[-1] or believed.deleted or (latest is not None and at < latest)
        )
        place = at if latest is None else max(at, latest)
        place = max(place, found.statements[0].floor)
        origin = min(each.record.origin for each in found.statements)
        left = Left(at, origin, is_contradicted)
        self._touched += found.statements
        if (left, place) != (found.left, found.place) or len(found.statements) == 1:
            before = at if found.left is None else found.left.at
            found.left, found.place, found.at = left, place, at
            self._touch_since(min(at, before))

    def _from(self, opened: Happening) -> int:
        """The earliest that it can have been."""
        at = opened.at if opened.kind or opened.since is None else opened.since
        return start_of_day(local_date(at, self._zone), self._zone) if opened.is_bare else at

    def _can_be(self, stated: Time, arrival: int | None) -> bool:
        return (arrival is None or stated.at >= arrival) and stated.at <= stated.told + self._skew

    def _touch_since(self, at: int) -> None:
        """All that was told after: whether it was said while the patient was there has to be asked again."""
        for said in reversed(self.statements):
            if said.record.told <= at:
                return
            self._touched.append(said)

    def _is_of_the_change(self, stated: Time) -> bool:
        """A new PV1-44 at or after a change of class is when the new status began: the arrival was before."""
        said, left = self._changed, None if self._out is None else self._out.left
        if said is None or said.role != STANDS or said.opening is not None or self._is_known(stated):
            return False
        is_true = stated.at <= stated.told + self._skew and (left is None or stated.at <= left.at)
        if stated.at < said.record.at or not is_true:
            return False
        opened = Happening("", said.record.trigger)
        opened.is_pinned, opened.is_bare, opened.since = "stated" in said.record.data, stated.bare, stated.at
        opened.at = said.record.at if opened.is_pinned else stated.at
        opened.statements.append(said)
        said.opening = opened
        self._chain.append(opened)
        self._touched.append(said)
        return True
