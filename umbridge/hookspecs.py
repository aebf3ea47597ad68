"""The contract with criteria plugins. Version 2026-11-30: two hooks.

The hooks are those of 2026-11-22. Of the engine beside them ``Examination.once`` is gone, ``LevelContent``,
``pend_for_age``, ``pend_for_order`` and ``Subset.examine`` are new. ``Interval`` and ``Manifest.bounds`` are
of 2026-11-30.

A plugin is a distribution with an entry point in the group ``umbridge.criteria`` whose value is a module
with functions marked ``@umbridge.hookimpl``. The daemon never imports it: the module is loaded inside a
worker process of its own. See ``docs/hooks.md``.
"""

from __future__ import annotations

import pluggy

from umbridge.model import Case, Manifest, ScreenResult

PROJECT = "umbridge"
ENTRY_POINT_GROUP = "umbridge.criteria"
PACK_GROUP = "umbridge.packs"  # content only: the value names a package without code
VERSION = "2026-11-30"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def umbridge_manifest() -> Manifest:  # type: ignore[empty-body]
    """Say who you are, which content you carry and which facts you need. Called once, at start.

    Since 2026-11-22.
    """


@hookspec(firstresult=True)
def umbridge_screen(case: Case) -> ScreenResult:  # type: ignore[empty-body]
    """Screen one case. Pure: the same case and content give the same result, byte for byte.

    Return NOT_APPLICABLE when no subset fits. Raise nothing: an exception, a time-out or a result outside
    the contract becomes PEND with a reason, for this plugin only. Since 2026-11-22.
    """
