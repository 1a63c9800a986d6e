"""The VoiceInfra API over HTTP: where it is, and one request to it; never sends twice, knows no ledger."""
