"""One Airflow DAG a spec: all of them; parted over several files as in docs/scale.md, where they are many."""

from __future__ import annotations

from modelrail_dags import find_dags

globals().update(find_dags())
