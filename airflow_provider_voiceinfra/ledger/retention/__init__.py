"""How personal data leaves the ledger: by age, or all that is about one number."""
