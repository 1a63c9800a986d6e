"""An asset, whose events are what other systems report to Airflow."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, task

with DAG("bench_asset", schedule=None):

    @task(outlets=[Asset("bench")])
    def make() -> None:
        """Make nothing."""

    make()
