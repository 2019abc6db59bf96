"""The transform step: rows become features and labels, by one graph that serving runs too."""

from pipeline.steps.transform.applying import Transformed, number_matrix, text_matrix, transform
from pipeline.steps.transform.columns import Inputs, columns_of, features_of, needed_inputs
from pipeline.steps.transform.rows import Target, compile_target, compile_transform

__all__ = [
    "Inputs",
    "Target",
    "Transformed",
    "columns_of",
    "compile_target",
    "compile_transform",
    "features_of",
    "needed_inputs",
    "number_matrix",
    "text_matrix",
    "transform",
]
