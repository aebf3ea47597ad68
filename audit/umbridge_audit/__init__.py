"""The audit ledger: entries, proof, encryption, disclosure. Knows nobody.

The verifying half (entry, slots, tree, checkpoint, verify, bundle) imports no SQL and needs no key.
"""

import umbridge_audit.importguard  # noqa: F401  (first: it guards every import that follows)
