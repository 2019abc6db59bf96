"""What a spec can name: trainers and their parameters, metrics, tasks."""
