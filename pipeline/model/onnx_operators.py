"""What a release's ONNX file may consist of: tensors of its own, and operators of a list.

The operators are pure functions of their inputs: no random numbers, and nothing of a runtime's or a stranger's own.
Functions that the file itself defines are made of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_PACKAGE = "modelrail.onnx"
_SCALARS = ("bytes", "int64")
FIELDS: Mapping[str, Mapping[str, tuple[int, str, bool]]] = {
    "ModelProto": {
        "graph": (7, "GraphProto", False),
        "training_info": (20, "TrainingInfoProto", True),
        "functions": (25, "FunctionProto", True),
    },
    "TrainingInfoProto": {"initialization": (1, "GraphProto", False), "algorithm": (2, "GraphProto", False)},
    "GraphProto": {
        "node": (1, "NodeProto", True),
        "initializer": (5, "TensorProto", True),
        "sparse_initializer": (15, "SparseTensorProto", True),
    },
    "FunctionProto": {
        "name": (1, "bytes", False),
        "node": (7, "NodeProto", True),
        "domain": (10, "bytes", False),
        "attribute_proto": (11, "AttributeProto", True),
        "overload": (13, "bytes", False),
    },
    "NodeProto": {
        "op_type": (4, "bytes", False),
        "attribute": (5, "AttributeProto", True),
        "domain": (7, "bytes", False),
        "overload": (8, "bytes", False),
    },
    "AttributeProto": {
        "t": (5, "TensorProto", False),
        "g": (6, "GraphProto", False),
        "tensors": (10, "TensorProto", True),
        "graphs": (11, "GraphProto", True),
        "sparse_tensor": (22, "SparseTensorProto", False),
        "sparse_tensors": (23, "SparseTensorProto", True),
    },
    "SparseTensorProto": {"values": (1, "TensorProto", False), "indices": (2, "TensorProto", False)},
    "TensorProto": {"external_data": (13, "bytes", True), "data_location": (14, "int64", False)},
}
"""Message → field → its number in onnx.proto, what is in it, and whether there may be several.

Texts are bytes here, since onnx.proto lets them be no UTF-8. The kind of ``data_location`` is an integer, so that one
that onnx.proto does not know is seen as well.
"""


@cache
def model_class() -> Any:
    """Return the class that reads a ``ModelProto``."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_describe())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ModelProto"))


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="modelrail/onnx.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, several) in fields.items():
            scalar = kind in _SCALARS
            message.field.add(
                name=field,
                number=number,
                label="LABEL_REPEATED" if several else "LABEL_OPTIONAL",
                type=f"TYPE_{kind.upper()}" if scalar else "TYPE_MESSAGE",
                type_name=None if scalar else f".{_PACKAGE}.{kind}",
            )
    return file


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
