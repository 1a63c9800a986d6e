"""AI phone calls as a step of an Airflow DAG, through the VoiceInfra API; this file only names the version."""

__version__ = "0.1.0"
