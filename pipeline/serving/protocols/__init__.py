"""The protocols that are spoken: our own, Open Inference, MLflow's invocations."""
