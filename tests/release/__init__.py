"""What is tried of a release apart from the other tests, since it installs Airflow anew: `make test-dist`."""
