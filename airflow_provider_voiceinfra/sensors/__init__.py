"""Airflow's sensors of this provider, under the import paths that users expect; never place a call."""
