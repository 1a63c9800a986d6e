"""Airflow's hooks of this provider, under the import paths that Airflow users expect."""
