"""Run by the tests in a process of its own: open a job in one of Airflow's tasks, print what it found and read."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from modelrail_tasks import Task, open_login

from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest


class Open(Task):
    """Open the job twice: the mirror is made, and brought up to date; read what is asked for."""

    def work(self, context: Any) -> dict[str, list[str]]:
        open_job(RunRequest(context["spec"]), open_login)
        job = open_job(RunRequest(context["spec"]), open_login)
        found = {"partitions": list(job.partitions)}
        return found | ({"read": [job.read(each).decode() for each in context["read"]]} if context["read"] else {})


before = set(os.environ)
found = Open(task_id="open").execute({"spec": sys.argv[1], "read": sys.argv[2:]})
print("\n" + json.dumps(found | {"left": sorted(set(os.environ) - before)}))
