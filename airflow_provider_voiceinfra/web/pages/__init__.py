"""The pages in Airflow's user interface; never show what ``Scope`` does not allow, and place no calls."""
