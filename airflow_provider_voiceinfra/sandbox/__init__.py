"""An imitation of the VoiceInfra API for demos, tests and benchmarks; it never contacts another machine.

Start it with ``voiceinfra-sandbox`` or ``python -m airflow_provider_voiceinfra.sandbox``; no other part of
the package imports it.
"""
