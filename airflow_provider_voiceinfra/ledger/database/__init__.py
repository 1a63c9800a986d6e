"""The ledger's database: its URL, connections, tables and migrations; knows nothing of calls' rules."""
