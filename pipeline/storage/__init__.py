"""Where things are kept: Git, artifacts, large files; and how they are named there.

It keeps bytes and names and knows no model, no step and no run.
"""
