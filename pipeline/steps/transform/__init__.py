"""The transform step: rows become features and labels, by one graph that serving runs too."""

from pipeline.steps.transform.applying import Transformed, number_matrix, text_matrix, transform
from pipeline.steps.transform.columns import Inputs, features_of, inputs_of
from pipeline.steps.transform.rows import Target, compile_target, compile_transform

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
