"""What the ledger has of webhooks: what came, what it made of them, and those that it could not use."""
