"""The normalize step: what is fitted on training rows becomes a graph, and that graph makes the matrix."""

from pipeline.normalization.applying import compile_preprocess, normalize, repeated_rows
from pipeline.normalization.compiling import compile_normalize
from pipeline.normalization.fitting import fit, needs_second_pass
from pipeline.normalization.outliers import outlier_rows
from pipeline.normalization.preprocessing import CategoryRule, NumberRule, Preprocessing
from pipeline.statistics import Statistics, merge

__all__ = [
    "CategoryRule",
    "NumberRule",
    "Preprocessing",
    "Statistics",
    "compile_normalize",
    "compile_preprocess",
    "fit",
    "merge",
    "needs_second_pass",
    "normalize",
    "outlier_rows",
    "repeated_rows",
]
