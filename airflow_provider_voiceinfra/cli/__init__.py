"""The commands of ``airflow voiceinfra``; ``definition`` is the only module that every Airflow command loads."""
