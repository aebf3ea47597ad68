"""The audit ledger: entries, proof, encryption, disclosure. Knows nobody."""
