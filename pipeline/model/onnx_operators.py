"""What a release's ONNX file may consist of: tensors of its own, and operators of a list.

The operators are pure functions of their inputs: no random numbers, and nothing of a runtime's or a stranger's own.
Functions that the file itself defines are made of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from pipeline.model.onnx_messages import model_class

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
_OF_RUNTIMES = ("ai.onnx", "com.microsoft", "com.ms")
"""What the names of domains begin with whose operators a runtime has: it prefers its own to the file's functions."""


def find_unsafe(content: bytes) -> tuple[str, str] | None:
    """Find what keeps an ONNX file from being a release's: as what was found and what was expected.

    Parameters
    ----------
    content : bytes
        A serialized ``ModelProto``. Bytes that protobuf cannot read are refused, not left to the runtime.
    """
    try:
        model = model_class().FromString(content)
    except DecodeError:
        return "bytes that cannot be read", "an ONNX graph"
    messages = list(_messages(model))
    if any(each.external_data or each.data_location for each in messages if _is(each, "TensorProto")):
        return "tensors stored in other files", "all of them inside"
    if foreign := _foreign_operators(messages):
        return f"the operators {', '.join(foreign[:5])}", "those of ONNX that a release has"
    return None


def _messages(message: Any) -> Iterator[Any]:
    """Yield a message and all that are in it; no recursion is deeper than what protobuf reads."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                yield from _messages(each)


def _is(message: Any, name: str) -> bool:
    return bool(message.DESCRIPTOR.name == name)


def _foreign_operators(messages: list[Any]) -> list[str]:
    used = {(_text(each.domain), _text(each.op_type), each.overload) for each in messages if _is(each, "NodeProto")}
    functions = (each for each in messages if _is(each, "FunctionProto"))
    defined = {(_text(each.domain), _text(each.name), each.overload) for each in functions}
    own = {each for each in defined if each[0] and not each[0].startswith(_OF_RUNTIMES)}
    names = {(domain, name) for domain, name, _ in used - own}
    return sorted(f"{domain}.{name}".lstrip(".") for domain, name in names if name not in OPERATORS.get(domain, ()))


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
