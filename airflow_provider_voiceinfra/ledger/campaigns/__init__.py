"""The part of the ledger about campaigns: who runs one, and whom it calls; knows no calling rules."""
