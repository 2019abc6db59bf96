"""The platform ``kubernetes``: objects of a cluster, and what is done with them."""
