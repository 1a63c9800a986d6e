"""From the bytes of a webhook to what is stored of it; knows no HTTP, and parses nothing unverified."""
