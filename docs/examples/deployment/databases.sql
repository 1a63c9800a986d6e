-- Two databases, each with an owner of its own: Airflow's metadata, and the ledger. Run by psql, once.
\getenv airflow_password AIRFLOW_DATABASE_PASSWORD
\getenv ledger_password LEDGER_PASSWORD

CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE DATABASE airflow OWNER airflow;

CREATE ROLE voiceinfra LOGIN PASSWORD :'ledger_password';
CREATE DATABASE voiceinfra OWNER voiceinfra;
