"""What the ledger knows of who must not be called, and what was in force when somebody was."""
