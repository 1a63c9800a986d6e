"""Links on a task's page, made of what the task has pushed; never ask the API or the ledger."""
