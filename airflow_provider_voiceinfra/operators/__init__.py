"""Airflow's operators of this provider, under the import paths that Airflow users expect."""
