"""What a campaign says while it runs and leaves behind; changes nothing in the ledger."""
