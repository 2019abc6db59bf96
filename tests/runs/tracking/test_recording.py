"""The second process of a run."""

import sys
from pathlib import Path

import psutil
import pytest

from pipeline.runs.tracking import PipedRecorder, RunClosed, RunOpened


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_recording_process_loads_no_library_for_data_and_shows_no_address(tmp_path):
    recorder = PipedRecorder(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    recorder.tell(RunOpened("model", "run", {}, {"name": "data", "digest": "d1", "source": "here"}))
    assert recorder.run_id()
    (process,) = (each for each in psutil.Process().children() if "pipeline.runs.tracking" in each.cmdline())
    assert "mlflow.db" not in " ".join(process.cmdline()), "an address may hold a password"
    loaded = Path(f"/proc/{process.pid}/maps").read_text()
    assert [name for name in ("numpy", "pandas", "pyarrow", "scipy") if f"/{name}/" in loaded] == []
    recorder.tell(RunClosed("FINISHED", {}))
    recorder.finish()
