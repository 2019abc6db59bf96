"""What one YAML file may say about one model: types, loading with positions, checks, schema and documentation.

It decides and never acts: no data, no network, nothing heavy.
"""
