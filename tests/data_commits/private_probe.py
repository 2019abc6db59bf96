"""Run by the tests in a process of its own: open a job inside one of Airflow's tasks, and print what it found."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from modelrail_tasks import Task

from pipeline.job import RunRequest, open_job


class Open(Task):
    """Open the job twice: the mirror is made, and brought up to date."""

    def work(self, context: Any) -> list[str]:
        open_job(RunRequest(context["spec"]))
        return list(open_job(RunRequest(context["spec"])).partitions)


before = set(os.environ)
found = Open(task_id="open").execute({"spec": sys.argv[1]})
print("\n" + json.dumps({"partitions": found, "left": sorted(set(os.environ) - before)}))
