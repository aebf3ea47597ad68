"""Reviews put to plugins in processes of their own: what a vendor's code says, and what the host adds."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from test_host import HEAD, install

from umbridge.commands import sample
from umbridge.dryrun.screen import Shadow
from umbridge.screening.host import Host
from umbridge.settings.site import default_site

BEGAN = datetime.fromisoformat("2026-01-12T09:00:00-05:00")
#: A plugin with code that goes by the diagnosis, and says nothing of holds; the second builds on it.
ALWAYS = "@hookimpl\ndef umbridge_screen(case):\n    return met(case, supported=Level.ACUTE)\n"
PAYER = (
    '@hookimpl\ndef umbridge_screen(case):\n    found = case.facts.get("level_supported")\n'
    "    return met(case, tags=(found.latest.value,) if found else ())\n"
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.syspath_prepend(str(tmp_path))
    head = HEAD.replace("Evidence", "Evidence, Level")
    install(tmp_path, "always", head + ALWAYS)
    install(tmp_path, "payer", head.replace('"bun", "sbp"', '"level_supported",') + PAYER)
    return Host(call_seconds=60.0)


@pytest.mark.parametrize("measured", [False, True])
def test_a_vendors_code_that_was_told_of_no_measurement_closes_nothing(host: Host, measured: bool) -> None:
    """Nor does its answer support anything for a plugin that builds on it."""
    run = Shadow(default_site())
    for message in sample.stay(1, BEGAN, sample.PNEUMONIA):
        if measured or not (b"|VITALS^" in message or b"|LAB^" in message):
            run.take(message)
    host.start(["always", "payer"])
    try:
        lines = [line for line in run.screen(host, None) if line["review"] == "ADMISSION"]
    finally:
        host.stop()
    assert [(line["plugin"], line["hold"], line.get("tags", [])) for line in lines] == [
        ("always", [] if measured else ["NO_MEASURED_FACT"], []),
        ("payer", [], ["ACUTE"] if measured else []),
    ]
