"""Airflow's hooks of this provider, under the import paths that users expect; never dial by themselves."""
