"""Airflow's operators of this provider, under the import paths users expect; never dial by themselves."""
