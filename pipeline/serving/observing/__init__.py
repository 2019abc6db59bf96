"""What a server tells of itself: metrics, logs, traces, captures."""
