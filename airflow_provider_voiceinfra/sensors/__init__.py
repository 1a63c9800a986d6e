"""Airflow's sensors of this provider, under the import paths that Airflow users expect."""
