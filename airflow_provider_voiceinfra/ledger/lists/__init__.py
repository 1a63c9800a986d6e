"""The part of the ledger that pages and commands read: filtered lists and figures; changes nothing."""
