"""Real servers for the demo, the integration tests and the benchmarks: Airflow, the sandbox, PostgreSQL.

Each is a child process with a directory and ports of its own, and each is stopped with everything that it
started, whatever becomes of the Python process that uses this package. Nothing in the provider imports it.
"""
