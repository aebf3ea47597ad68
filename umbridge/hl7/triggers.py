"""Every ADT trigger and order message: what it does to a stay, or why it does nothing.

The names are those of HL7 v2 table 0003. A test holds the two ADT lists to the whole of that table, so that
no trigger is passed over without somebody having decided it.
"""

from __future__ import annotations

#: ADT triggers that are applied, by what they do.
APPLIED = {
    "admit, register, plan": ("A01", "A04", "A05", "A14"),
    "change of class": ("A06", "A07"),
    "update": ("A08", "A28", "A31"),
    "place": ("A02", "A09", "A10", "A15", "A17"),
    "leave": ("A21", "A22"),
    "discharge": ("A03", "A16"),
    "attending": ("A54", "A55"),
    "cancel": ("A11", "A12", "A13", "A25", "A26", "A27", "A32", "A33", "A38", "A52", "A53"),
    "purge": ("A23", "A29"),
    "merge": ("A18", "A30", "A34", "A35", "A36", "A39", "A40", "A41", "A42"),
    "move": ("A43", "A44", "A45"),
    "rename": ("A46", "A47", "A49", "A50"),
}

#: ADT triggers that are answered, kept and listed as IGNORED, with the reason.
IGNORED = {
    "A19": "query_answer",  # the answer to a question that we do not ask
    "A20": "bed_status",  # a bed's state, nobody's stay
    "A24": "link_is_no_merge",  # two numbers may be one person: neither stay changes (HL7 v2 3.3.24)
    "A37": "link_is_no_merge",
    "A48": "alternate_patient_id_not_used",  # PID-4: no stay is found by it
    "A51": "alternate_visit_id_not_used",  # PV1-50: no stay is found by it
    "A60": "allergies_feed_no_rule",
    "A61": "consulting_doctor_not_used",
    "A62": "consulting_doctor_not_used",
}

#: Messages that carry orders: ORC with an OBR, RXO or RXE. RDE^O01 is what RDE^O11 was before 2.4.
ORDERS = {
    "ORM": ("O01",),
    "OMG": ("O19",),
    "OML": ("O21", "O33", "O35"),
    "OMP": ("O09",),
    "RDE": ("O11", "O01"),
}

#: Unsolicited results. R30 to R32 are those of point-of-care devices, without an order, with a search for
#: one and with one (7.3.4 to 7.3.6): one patient's, with the same PID, PV1, OBR and OBX.
RESULTS = ("R01", "R30", "R31", "R32")

#: Triggers about several patients or visits in one message: their PID and MRG or PV1 come in groups.
GROUPED = frozenset(
    {"A17", "A18", "A30", "A34", "A35", "A36", "A39", "A40", "A41", "A42"}
    | {"A43", "A44", "A45", "A46", "A47", "A49", "A50"}
)

USED = frozenset(
    [("ADT", trigger) for triggers in APPLIED.values() for trigger in triggers]
    + [(code, trigger) for code, triggers in ORDERS.items() for trigger in triggers]
    + [("ORU", trigger) for trigger in RESULTS]
)

#: The types whose triggers are told apart, and the first letters of their events.
FAMILIES = {"ADT": "A", "ORU": "RW", **dict.fromkeys(ORDERS, "O")}
