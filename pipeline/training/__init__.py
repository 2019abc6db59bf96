"""Training: a matrix and settings in, a model as one ONNX graph out."""

import os

# Waiting threads of scikit-learn's OpenMP spin by default. Where cores are shared (two Airflow tasks, a container with
# a quota) they keep the core from the thread that they wait for: measured on two busy cores, a fit took 94 s instead of
# 13 s. The library reads this once, when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
