"""A network of the BERT family as an ONNX graph, from the file of its weights.

The graph is written here, of standard operators: no framework is needed, and weights in the format ``safetensors`` are
numbers and nothing else.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pipeline.errors import DataError
from pipeline.model.graphs import Graph

Tensors = Mapping[str, NDArray[np.float32]]


def read_tensors(content: bytes) -> Tensors:
    """Read the float32 tensors of a ``safetensors`` file.

    Raises
    ------
    DataError
        It is no such file.
    """
    try:
        (size,) = struct.unpack_from("<Q", content)
        listed: dict[str, Any] = json.loads(content[8 : 8 + size])
        # Integers, such as ``position_ids``, are no weights.
        return {name: _tensor(content, 8 + size, each) for name, each in listed.items() if each.get("dtype") == "F32"}
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"weights: found {error!r}; expected a safetensors file") from error


def _tensor(content: bytes, start: int, each: Mapping[str, Any]) -> NDArray[np.float32]:
    begin, end = each["data_offsets"]
    return np.frombuffer(content, "<f4", (end - begin) // 4, start + begin).reshape(each["shape"])


def compile_encoder(tensors: Tensors, heads: int, epsilon: float) -> ModelProto:
    """Compile the network: ``pieces`` int64[N, L] → ``vectors`` float32[N, H], the mean over the pieces, of length 1.

    All texts of a call have the same number of pieces, so nothing is padded and nothing masked.
    """
    return _Encoder(tensors, heads, epsilon).compile()


class _Encoder:
    def __init__(self, tensors: Tensors, heads: int, epsilon: float) -> None:
        self.tensors, self.heads, self.epsilon = tensors, heads, epsilon
        self.graph = Graph("encoder")
        self.width = tensors["embeddings.word_embeddings.weight"].shape[1]

    def constant(self, name: str) -> str:
        return self.graph.constant(self.tensors[name], "float")

    def shape(self, *sizes: int) -> str:
        return self.graph.constant(list(sizes), "int64")

    def compile(self) -> ModelProto:
        pieces = self.graph.input("pieces", "int64", "L")
        value = self.embed(pieces)
        layers = sum(name.endswith("intermediate.dense.weight") for name in self.tensors)
        for place in range(layers):
            value = self.layer(value, f"encoder.layer.{place}.")
        mean = self.graph.add("ReduceMean", value, self.shape(1), keepdims=0)
        squares = self.graph.add("ReduceSumSquare", mean, self.shape(1), keepdims=1)
        self.graph.output("vectors", self.graph.add("Div", mean, self.graph.add("Sqrt", squares)), "float", self.width)
        return self.graph.build()

    def embed(self, pieces: str) -> str:
        add = self.graph.add
        count = add("Shape", pieces, start=1, end=2)
        places = add(
            "Slice", self.constant("embeddings.position_embeddings.weight"), self.shape(0), count, self.shape(0)
        )
        # The network can tell two texts apart; here each row is one text, so all its pieces are of the first kind.
        kind = self.graph.constant(self.tensors["embeddings.token_type_embeddings.weight"][:1], "float")
        words = add("Gather", self.constant("embeddings.word_embeddings.weight"), pieces, axis=0)
        return self.norm(add("Add", add("Add", words, places), kind), "embeddings.LayerNorm")

    def layer(self, value: str, name: str) -> str:
        add = self.graph.add
        seen = self.dense(self.attend(value, f"{name}attention.self."), f"{name}attention.output.dense")
        value = self.norm(add("Add", seen, value), f"{name}attention.output.LayerNorm")
        inner = self.gelu(self.dense(value, f"{name}intermediate.dense"))
        return self.norm(add("Add", self.dense(inner, f"{name}output.dense"), value), f"{name}output.LayerNorm")

    def attend(self, value: str, name: str) -> str:
        """Attention with scaled products (A. Vaswani et al., 2017)."""
        add, size = self.graph.add, self.width // self.heads
        # A size of 0 is that of the input, so that rows and pieces stay free. The key is turned further than the
        # others, so that one ``MatMul`` multiplies each query with each key.
        query, key, values = (
            add(
                "Transpose",
                add("Reshape", self.dense(value, name + part), self.shape(0, 0, self.heads, size)),
                perm=order,
            )
            for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
        )
        scores = add("Mul", add("MatMul", query, key), self.graph.constant(1 / math.sqrt(size), "float"))
        mixed = add("Transpose", add("MatMul", add("Softmax", scores, axis=-1), values), perm=[0, 2, 1, 3])
        return add("Reshape", mixed, self.shape(0, 0, self.width))

    def dense(self, value: str, name: str) -> str:
        # PyTorch keeps [out, in]; turned here once rather than in each call.
        weights = self.graph.constant(np.ascontiguousarray(self.tensors[f"{name}.weight"].T), "float")
        return self.graph.add("Add", self.graph.add("MatMul", value, weights), self.constant(f"{name}.bias"))

    def norm(self, value: str, name: str) -> str:
        both = (self.constant(f"{name}.{part}") for part in ("weight", "bias"))
        return self.graph.add("LayerNormalization", value, *both, axis=-1, epsilon=self.epsilon)

    def gelu(self, value: str) -> str:
        """Gaussian error linear unit: x · (1 + erf(x / √2)) / 2."""
        # The exact form, with which these networks are trained, not the one with tanh.
        add, constant = self.graph.add, self.graph.constant
        bent = add("Add", add("Erf", add("Div", value, constant(math.sqrt(2), "float"))), constant(1.0, "float"))
        return add("Mul", add("Mul", value, bent), constant(0.5, "float"))
