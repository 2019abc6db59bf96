"""The encoder of sentences, as a graph of our own made from its weights."""
