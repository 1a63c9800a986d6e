"""What the Airflow that the tests run with does, where the supported versions differ."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

_FROM_3_3 = Version(version("apache-airflow-core")) >= Version("3.3")
# Airflow's own address says what the page in its frame shows: a reload leads there, and so does Back.
FOLLOWS_FRAMES = _FROM_3_3
# A trigger is asked to say something when a user ends its task.
ASKS_TRIGGERS_ON_KILL = _FROM_3_3
# The Test button is refused for a stored connection without a port.
WANTS_A_PORT_TO_TEST = _FROM_3_3
# A worker can test a connection.
TESTS_ON_WORKERS = _FROM_3_3
# The form of a connection hides an extra that is a secret while it is typed.
HIDES_TYPED_SECRETS = _FROM_3_3
# The form has its editor with it; before, it loads that from another machine.
HAS_ITS_EDITOR = _FROM_3_3
# What Airflow's own pages complain of in a browser, whatever is installed beside it.
OWN_COMPLAINTS = (
    ()
    if _FROM_3_3
    else (
        r"https://cdn\.jsdelivr\.net/npm/monaco-editor@",  # the editor, which cannot be had here
        r"^console: Monaco initialization: error: Event ",
        r"^uncaught error: Event$",
        r"^console: TI summaries stream error: ",  # a page that is left while it still loads
        r"^uncaught error: signal is aborted without reason$",  # the same
    )
)
