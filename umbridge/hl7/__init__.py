"""Bytes and meaning of HL7 v2, with no I/O."""
