"""Neural networks: one description of the layers, trained by PyTorch or by Keras, written as one graph."""
