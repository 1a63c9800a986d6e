"""AI phone calls as a step of an Airflow DAG, through the VoiceInfra API. Only the version is here."""

__version__ = "0.1.0"
