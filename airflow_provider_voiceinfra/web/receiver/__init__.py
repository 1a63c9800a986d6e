"""Receives webhooks over HTTP: limits, secrets, statuses; never answers 200 before the record is durable."""
