"""The messages of an ONNX file on the way to its nodes and tensors, read by protobuf without the onnx package.

Fields that are not named here are skipped by the library itself, as fast as it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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
