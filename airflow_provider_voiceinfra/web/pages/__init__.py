"""The pages in Airflow's user interface: calls, campaigns, and the set-up of connections."""
