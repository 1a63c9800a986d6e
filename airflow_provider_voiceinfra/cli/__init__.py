"""The commands of ``airflow voiceinfra``; only ``definition`` is loaded by every Airflow command."""
