"""Training: a matrix and settings in, a model as one ONNX graph out."""

import os

# Waiting threads of scikit-learn's OpenMP (GNU's) spin 300,000 times before they sleep. Where cores are shared (two
# Airflow tasks, a container with a quota) they keep the core from the thread that they wait for. Measured on two cores,
# one boosting fit, alone and beside a busy process: 4.1 and 14.6 s by default, 5.8 and 7.8 s if they sleep at once,
# 4.4 and 9.6 s with 1,000 spins. The library reads this once, when it is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
