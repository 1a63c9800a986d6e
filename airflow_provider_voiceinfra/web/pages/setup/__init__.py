"""The page of connections and of webhooks that could not be used: tests and replays; never calls anybody."""
