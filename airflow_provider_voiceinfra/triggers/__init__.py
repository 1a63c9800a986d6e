"""Airflow's triggers of this provider: wait in the triggerer for what comes; never place a call."""
