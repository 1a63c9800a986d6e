"""What is served over HTTP: the receiver of webhooks, mounted in Airflow's API server or on its own."""
