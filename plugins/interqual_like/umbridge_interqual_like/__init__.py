"""Level-of-care screening in the shape subset, episode, level, criteria; all content is open and cited.

Content alone makes the answer: the engine's ``LevelContent`` has the logic, as for every criteria pack.
"""

from __future__ import annotations

from pathlib import Path

from umbridge import Case, LevelContent, Manifest, ScreenResult, hookimpl

NAME = "interqual_like"
VERSION = "0.1.0"
DISCLAIMER = (
    "Not affiliated with, endorsed by or derived from any vendor's product. InterQual is a trademark of "
    "its owner. Contains no proprietary text. A screening aid: not medical advice, not a denial, not a "
    "payment decision."
)

CONTENT = LevelContent(Path(__file__).with_name("content"), required=("discharge.ready",))
LIBRARY = CONTENT.library


@hookimpl
def umbridge_manifest() -> Manifest:
    return CONTENT.manifest(NAME, VERSION, DISCLAIMER)


@hookimpl
def umbridge_screen(case: Case) -> ScreenResult:
    return CONTENT.screen(case)
