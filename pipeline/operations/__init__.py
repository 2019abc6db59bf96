"""What is done with what exists: provenance, garbage collection, backups, reviews, backfills.

It starts no step of its own making and shows nothing.
"""
