"""The commands that change the ledger as a whole: purge, forget, encrypt, upgrade."""
