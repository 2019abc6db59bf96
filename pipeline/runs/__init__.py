"""One run of a plan: what is asked, planned, computed, recorded and delivered.

It knows the store, Git and MLflow for the steps, which know none of them; how a step works stands in `steps`.
"""
