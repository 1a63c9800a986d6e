"""What is served over HTTP: the receiver of webhooks, and the pages; never uses the threads of others."""
