"""The audit ledger: entries, proof, encryption, disclosure. Knows nobody.

The verifying half (entry, slots, tree, checkpoint, verify, bundle) imports no SQL and needs no key.
"""
