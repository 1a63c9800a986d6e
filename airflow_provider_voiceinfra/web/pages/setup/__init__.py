"""The page that says whether connections are set up, and what their webhooks are doing."""
