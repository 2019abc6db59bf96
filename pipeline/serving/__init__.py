"""The prediction server: what runs a released bundle and answers over HTTP; and how it is asked.

It needs neither training code nor pandas nor MLflow.
"""
