"""What a released model is: its signature, its graph, and how raw columns become what the graph takes.

Training and serving share it; it knows neither of them.
"""
