"""A data file, or a pack of small ones, becomes clean rows and a quarantine."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.messages import count
from pipeline.model.columns import merge_columns
from pipeline.runs.job import Job
from pipeline.runs.plan.planning import MEMBERS, Node
from pipeline.runs.results import Made
from pipeline.runs.work.files import write_frame, write_json
from pipeline.steps.clean.reading import Source, read_pack
from pipeline.steps.clean.repair import clean_each


def clean_partition(job: Job, node: Node, folder: Path) -> Made:
    """Write ``rows.parquet``, ``quarantine.parquet`` if there is any, and ``report.json``."""
    sources = [Source(each, job.read(each), job.partitions[each].path) for each in node.partitions]
    reading = read_pack(sources, job.spec.data)
    columns = merge_columns({str(node.partition): reading.columns})
    cleaned, counts = clean_each(reading.rows, reading.counts, job.spec, columns)
    write_frame(cleaned.rows, folder / "rows.parquet")
    if len(reading.quarantined):
        write_frame(reading.quarantined, folder / "quarantine.parquet")
    report = {
        "rows_read": len(reading.rows) + len(reading.quarantined),
        "rows_quarantined": len(reading.quarantined),
        "rows_dropped": cleaned.dropped,
        "columns": reading.columns,
        "times": _times(cleaned.rows),
        "notes": list(reading.notes),
        "warnings": list(reading.warnings),
    }
    if len(sources) > 1:
        report[MEMBERS] = dict(zip(node.partitions, counts, strict=True))
    write_json(report, folder / "report.json")
    dropped = sum(cleaned.dropped.values())
    say = f"{count(len(cleaned.rows), 'row')} kept, {len(reading.quarantined):,} quarantined, {dropped:,} dropped"
    return Made(say, len(cleaned.rows), manifest=report)


def _times(rows: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return the oldest and the newest of each column of times that has any."""
    spans = {str(name): (rows[name].min(), rows[name].max()) for name in rows if rows[name].dtype.kind == "M"}
    return {name: (low.isoformat(), high.isoformat()) for name, (low, high) in spans.items() if not pd.isna(low)}
