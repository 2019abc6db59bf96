"""The peer: sentence-transformers, in a virtual environment of its own, told by lines what to do.

``encode.py MODEL BACKEND THREADS`` reads texts as JSON from its first line; for every further line it encodes them,
writes the vectors to the file that the line names, if it names one, and answers with the CPU time that encoding took.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer


def main() -> None:
    folder, backend, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    more = {}
    if backend == "onnx":
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = int(threads)
        more = {"model_kwargs": {"session_options": options, "provider": "CPUExecutionProvider", "export": True}}
    model = SentenceTransformer(folder, device="cpu", backend=backend, **more)
    texts = json.loads(sys.stdin.readline())
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        began = time.process_time()
        vectors = model.encode(texts, show_progress_bar=False)
        took = time.process_time() - began
        if target := line.strip():
            np.save(Path(target), vectors)
        print(json.dumps({"cpu_s": took}), flush=True)


if __name__ == "__main__":
    main()
