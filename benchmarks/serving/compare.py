"""One-row requests: the server beside a bare ASGI echo (the limit) and FastAPI with scikit-learn, by wrk.

``.venv/bin/python -m benchmarks.serving.compare [--seconds 10]``. The server has core 0, wrk core 1; metrics, logs
and validation are on.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
from onnx import TensorProto, helper, numpy_helper

from pipeline.serving.workers import child_environment, listen
from pipeline.signature import Input, Signature
from tests.serving.bundles import make_model, numbers_input, write_bundle

COLUMNS = 10
SERVERS = {
    "modelrail": ["-m", "pipeline.serving.server", "--bundle", "{bundle}", "--fd", "{fd}"],
    "echo": ["-m", "benchmarks.serving.peers", "echo", "{fd}"],
    "FastAPI + scikit-learn": ["-m", "benchmarks.serving.peers", "fastapi", "{fd}"],
}
PATTERNS = {"requests/s": r"Requests/sec:\s+([\d.]+)", "p50": r"50%\s+(\S+)", "p99": r"99%\s+(\S+)"}


def write_logistic(folder: Path) -> Path:
    """Write a bundle with a scaled logistic regression of ten columns."""
    rng = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(rng.normal(size=(1, COLUMNS)), "mean"),
        numpy_helper.from_array(rng.normal(size=(COLUMNS, 2)), "weights"),
    ]
    nodes = [
        helper.make_node("Sub", ["numbers", "mean"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weights"], ["votes"]),
        helper.make_node("Softmax", ["votes"], ["wide"], axis=1),
        helper.make_node("Cast", ["wide"], ["probabilities"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["votes"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    inputs = tuple(Input(f"x{number}", "float") for number in range(COLUMNS))
    signature = Signature("classification", inputs, (0, 1), {each.name: 0.5 for each in inputs})
    return write_bundle(
        folder, signature=signature, graph=make_model(nodes, [numbers_input(COLUMNS)], outputs, tensors)
    )


def measure(name: str, bundle: Path, script: Path, connections: int, seconds: int) -> dict[str, str]:
    """Start a server, load it, and give what wrk says, its memory and its CPU time a request."""
    with listen("127.0.0.1", 0) as listener:
        words = [word.format(bundle=bundle, fd=listener.fileno()) for word in SERVERS[name]]
        command = ["taskset", "-c", "0", sys.executable, *words]
        with Path("/dev/null").open("wb") as nowhere:
            server = subprocess.Popen(
                command, pass_fds=[listener.fileno()], env=child_environment(), stdout=nowhere, stderr=nowhere
            )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/predict"
    load = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", "--latency", "-s", str(script), url]
    try:
        subprocess.run([*load, "-d2s"], capture_output=True, check=True)
        process = psutil.Process(server.pid)
        before = sum(process.cpu_times()[:2])
        said = subprocess.run([*load, f"-d{seconds}s"], capture_output=True, check=True, text=True).stdout
        spent = sum(process.cpu_times()[:2]) - before
        found = {key: match[1] for key, pattern in PATTERNS.items() if (match := re.search(pattern, said))}
        found["MiB"] = f"{process.memory_info().rss / 2**20:.0f}"
        found["CPU µs"] = f"{spent / (float(found['requests/s']) * seconds) * 1e6:.0f}"
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
        return found | ({"refused": bad[1]} if bad else {})
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    seconds = parser.parse_args().seconds
    print("load", psutil.getloadavg())
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_logistic(Path(folder, "b"))
        script = Path(folder, "post.lua")
        row = ",".join(["0.5"] * COLUMNS)
        script.write_text(
            f'wrk.method="POST"; wrk.body=\'{{"inputs": [[{row}]]}}\'; wrk.headers["content-type"]="application/json"'
        )
        for connections in (16, 64):
            limit = 0.0
            for name in ("echo", *(each for each in SERVERS if each != "echo")):
                found = measure(name, bundle, script, connections, seconds)
                limit = limit or float(found["requests/s"])
                share = float(found["requests/s"]) / limit
                print(f"{connections:3} {name:24} {share:5.2f} of the echo  {found}", flush=True)


if __name__ == "__main__":
    main()
