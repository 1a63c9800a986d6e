"""Receives webhooks over HTTP; answers 200 only once the record is durable."""
