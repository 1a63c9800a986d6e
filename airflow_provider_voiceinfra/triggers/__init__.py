"""Airflow's triggers of this provider, under the import paths that Airflow users expect."""
