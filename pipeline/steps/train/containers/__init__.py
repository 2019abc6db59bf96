"""Trainers in an environment of their own: Parquet in, ONNX and metrics out."""
