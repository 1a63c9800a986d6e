"""The commands of ``airflow voiceinfra``: show, prove, replay, cancel and purge; never place a call.

Only ``definition`` is loaded by every Airflow command.
"""
