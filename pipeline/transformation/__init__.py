"""The transform step: rows become features and labels, by one graph that serving runs too."""

from pipeline.transformation.applying import Transformed, number_matrix, text_matrix, transform
from pipeline.transformation.columns import Inputs, features_of, inputs_of
from pipeline.transformation.rows import Target, compile_target, compile_transform

__all__ = [
    "Inputs",
    "Target",
    "Transformed",
    "compile_target",
    "compile_transform",
    "features_of",
    "inputs_of",
    "number_matrix",
    "text_matrix",
    "transform",
]
