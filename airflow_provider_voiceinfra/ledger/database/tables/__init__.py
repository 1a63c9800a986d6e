"""What the ledger's tables are made of."""
