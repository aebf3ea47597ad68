"""Loaded by every Python started with this folder on its path: translating the poison message ends it."""

import os

from umbridge.hl7 import translate as room

_read = room.translate


def translate(message, *words, **names):  # type: ignore[no-untyped-def]
    if message.get("MSH-10") == "ZZPOISON":
        os._exit(9)
    return _read(message, *words, **names)


room.translate = translate
