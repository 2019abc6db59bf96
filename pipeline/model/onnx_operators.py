"""The operators that a release may consist of.

They are pure functions of their inputs: no random numbers, and nothing of a runtime's or a stranger's own. Functions
that the file itself defines are made of these.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.model.onnx_wire import CHILDREN, LEAVES, fields

_OPERATOR, _DOMAIN, _FUNCTION_NAME, _FUNCTION_DOMAIN = 4, 7, 1, 10
_STANDARD = frozenset(
    """Abs Acos Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat
    Constant ConstantOfShape Conv Cos Cosh CumSum Div Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements
    GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish Identity
    InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max
    MaxPool Mean Min Mod Mul Neg Not OneHot Or PRelu Pad Pow Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round Scan Selu Shape Sigmoid
    Sign Sin Sinh Slice Softmax Softplus Softsign Split Sqrt Squeeze StringConcat StringNormalizer StringSplit Sub
    Sum Tan Tanh TfIdfVectorizer Tile TopK Transpose Unsqueeze Where Xor""".split()  # noqa: SIM905
)
_LEARNED = frozenset(
    """ArrayFeatureExtractor Binarizer CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
    LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble
    TreeEnsembleClassifier TreeEnsembleRegressor ZipMap""".split()  # noqa: SIM905
)
OPERATORS: Mapping[str, frozenset[str]] = {"": _STANDARD, "ai.onnx": _STANDARD, "ai.onnx.ml": _LEARNED}
"""Domain → the names that are allowed."""


def foreign_operators(content: bytes) -> set[str]:
    """Return the operators that no release has, as ``domain.Name``.

    Parameters
    ----------
    content : bytes
        A serialized ``ModelProto``. What cannot be walked is left to the runtime, which will refuse it.
    """
    used: set[tuple[str, str]] = set()
    defined: set[tuple[str, str]] = set()
    try:
        _collect(memoryview(content), "model", used, defined, 0)
    except (IndexError, ValueError):
        return set()
    allowed = {(domain, name) for domain, names in OPERATORS.items() for name in names}
    return {f"{domain}.{name}".lstrip(".") for domain, name in used - defined - allowed}


def _collect(
    message: memoryview, kind: str, used: set[tuple[str, str]], defined: set[tuple[str, str]], depth: int
) -> None:
    """Collect the operators that are used, and the functions that are defined; tensors are passed over."""
    if depth > 100:
        raise ValueError(depth)
    children, texts = CHILDREN[kind], {}
    for number, value in fields(message, LEAVES if kind == "attribute" else None):
        if not isinstance(value, memoryview):
            continue
        if (kind == "node" and number in {_OPERATOR, _DOMAIN}) or (
            kind == "function" and number in {_FUNCTION_NAME, _FUNCTION_DOMAIN}
        ):
            texts[number] = str(value, "utf-8")
        if children.get(number) in {"graph", "node", "function", "training", "attribute"}:
            _collect(value, children[number], used, defined, depth + 1)
    if kind == "node":
        used.add((texts.get(_DOMAIN, ""), texts.get(_OPERATOR, "")))
    if kind == "function":
        defined.add((texts.get(_FUNCTION_DOMAIN, ""), texts.get(_FUNCTION_NAME, "")))
