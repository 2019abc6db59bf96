from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import DeploymentError
from pipeline.model.onnx_operators import FIELDS, find_unsafe
from pipeline.model.signature import Input, Signature
from pipeline.serving.process.workers import child_environment
from pipeline.serving.scoring.model import load_model
from tests.serving.bundles import (
    GREETING,
    is_equal_graph,
    line_graph,
    make_model,
    numbers_input,
    prediction_output,
    seal,
    sum_graph,
    write_bundle,
)


def test_a_number_is_predicted_and_shown_in_its_shortest_form(tmp_path: Path) -> None:
    model = load_model(write_bundle(tmp_path / "b"))
    predictions = model.predict(np.array([[0.14], [1.0]]), None)
    assert predictions.values.dtype == np.float32
    assert model.outputs(predictions) == [1.28, 3.0]
    assert (model.model, model.version) == ("line", "1.0.0")


def test_classes_are_given_as_themselves_with_their_probabilities(tmp_path: Path) -> None:
    model = load_model(write_bundle(tmp_path / "b", signature=GREETING, graph=is_equal_graph("hello")))
    predictions = model.predict(None, np.array([["hello"], ["bye"]], dtype=object))
    assert model.outputs(predictions) == ["yes", "no"]
    assert predictions.probabilities.tolist() == [[0.25, 0.75], [0.75, 0.25]]


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    onnx.save_model(line_graph(3.0), bundle / "model.onnx")
    with pytest.raises(DeploymentError, match=r"model\.onnx: found SHA-256 [0-9a-f]{12}…; expected [0-9a-f]{12}…"):
        load_model(bundle)


@pytest.mark.parametrize("name", ["release.json", "signature.json", "model.onnx"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    bundle = write_bundle(tmp_path / "b")
    (bundle / name).unlink()
    with pytest.raises(DeploymentError, match=rf"{name}: found"):
        load_model(bundle)


def test_a_file_that_the_release_does_not_list_is_not_loaded(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    release = json.loads((bundle / "release.json").read_text())
    del release["files"]["model.onnx"]
    (bundle / "release.json").write_text(json.dumps(release))
    with pytest.raises(DeploymentError, match=r"found signature\.json in 'files'; expected model\.onnx"):
        load_model(bundle)


def test_a_graph_of_another_width_than_the_signature_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", graph=sum_graph(2))
    with pytest.raises(DeploymentError, match=r"found the inputs .* 2\).*; expected .* 1\).* \(signature\.json\)"):
        load_model(bundle)


def test_a_graph_without_the_prediction_is_refused(tmp_path: Path) -> None:
    classifies = Signature("classification", (Input("x", "float"),), ("a", "b"), {"x": 1.0})
    bundle = write_bundle(tmp_path / "b", signature=classifies)
    with pytest.raises(DeploymentError, match="found the outputs prediction; expected label, probabilities"):
        load_model(bundle)


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    (bundle / "model.onnx").write_bytes(b"no graph")
    seal(bundle)
    with pytest.raises(DeploymentError, match=r"model\.onnx: found .*; expected an ONNX graph"):
        load_model(bundle)


def test_an_example_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    signature = Signature("regression", (Input("x", "float"),), None, {"x": "text"})
    bundle = write_bundle(tmp_path / "b", signature=signature)
    with pytest.raises(DeploymentError, match="example: row 0, column 'x': found the text 'text'; expected a number"):
        load_model(bundle)


def external_graph(where: Path) -> onnx.ModelProto:
    """Return a graph whose constant lies in another file, inside a branch of an If."""
    tensor = numpy_helper.from_array(np.array([1.0]), "c")
    onnx.external_data_helper.set_external_data(tensor, location=where.name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    out = helper.make_tensor_value_info("out", TensorProto.DOUBLE, [None])
    branch = helper.make_graph([helper.make_node("Constant", [], ["out"], value=tensor)], "branch", [], [out])
    yes = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node("If", ["yes"], ["prediction"], then_branch=branch, else_branch=branch)
    return make_model([node], [numbers_input(1)], [prediction_output(TensorProto.DOUBLE)], [yes])


def test_a_graph_that_reads_other_files_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    (bundle / "model.onnx").write_bytes(external_graph(tmp_path / "secret").SerializeToString())
    seal(bundle)
    with pytest.raises(DeploymentError, match="found tensors stored in other files; expected all of them inside"):
        load_model(bundle)


def test_a_graph_that_only_has_the_word_location_is_not_taken_for_one(tmp_path: Path) -> None:
    graph = line_graph(1.0)
    graph.doc_string = "location"
    assert find_unsafe(graph.SerializeToString()) is None


def unlike_graph() -> onnx.ModelProto:
    """Return a graph of random numbers."""
    node = helper.make_node("RandomUniformLike", ["numbers"], ["prediction"], dtype=TensorProto.DOUBLE)
    return make_model([node], [numbers_input(1)], [prediction_output(TensorProto.DOUBLE)])


def in_branch(node: onnx.NodeProto) -> onnx.ModelProto:
    """Return a graph whose node is hidden in a branch of an If."""
    out = helper.make_tensor_value_info(node.output[0], TensorProto.DOUBLE, None)
    branch = helper.make_graph([node], "branch", [], [out])
    yes = numpy_helper.from_array(np.array(True), "yes")
    choice = helper.make_node("If", ["yes"], ["prediction"], then_branch=branch, else_branch=branch)
    return make_model([choice], [numbers_input(1)], [prediction_output(TensorProto.DOUBLE)], [yes])


def behind_a_tree(node: onnx.NodeProto) -> onnx.ModelProto:
    """Return a graph whose node is hidden in an attribute behind what a tree has there: numbers, and kinds of nodes."""
    graph = in_branch(node)
    hiding = graph.graph.node[0].attribute.add(name="nodes", ints=[0, 50, 90, 2**62, -1])
    hiding.strings.extend([b"LEAF", b"BRANCH_LEQ", b"BRANCH_LT"])
    hiding.graphs.append(graph.graph.node[0].attribute[0].g)
    del graph.graph.node[0].attribute[:2]
    return graph


def in_function(node: onnx.NodeProto) -> onnx.ModelProto:
    """Build a graph whose node is hidden in a function that the file defines, under an allowed operator's name."""
    graph = make_model([helper.make_node("Mine", ["numbers"], ["prediction"], domain="own")], [numbers_input(1)],
                       [prediction_output(TensorProto.DOUBLE)])  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    graph.functions.append(helper.make_function("own", "Mine", ["numbers"], list(node.output), [node], opsets))
    graph.opset_import.append(helper.make_opsetid("own", 1))
    return graph


RANDOM = helper.make_node("RandomUniformLike", ["numbers"], ["y"])
FOREIGN = helper.make_node("ReadFile", ["numbers"], ["y"], domain="com.stranger")


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        (unlike_graph(), "RandomUniformLike"),
        (in_branch(FOREIGN), r"If, com\.stranger\.ReadFile"),
        (behind_a_tree(FOREIGN), r"If, com\.stranger\.ReadFile"),
        (in_function(RANDOM), "RandomUniformLike"),
        (in_function(FOREIGN), r"com\.stranger\.ReadFile"),
    ],
    ids=["of the graph", "of a branch", "behind a tree", "of a function", "of another domain in a function"],
)
def test_an_operator_that_no_release_has_is_refused(tmp_path: Path, graph: onnx.ModelProto, found: str) -> None:
    bundle = write_bundle(tmp_path / "b", graph=graph)
    with pytest.raises(DeploymentError, match=rf"model\.onnx: found the operators {found}; expected those of ONNX"):
        load_model(bundle)


def under_a_name_of_the_runtime(node: onnx.NodeProto, domain: str, overload: str = "") -> onnx.ModelProto:
    """Build a graph whose file defines a function as an operator that the runtime has: it takes its own."""
    graph = unlike_graph()
    opsets = [helper.make_opsetid("", 17)]
    graph.functions.append(
        helper.make_function(domain, "RandomUniformLike", ["numbers"], list(node.output), [node], opsets)
    )
    graph.functions[0].overload = overload
    return graph


EMPTY_GROUP = b"{|"  # of field 15: onnx.proto has none, and protobuf skips it


@pytest.mark.parametrize(
    "content",
    [
        unlike_graph().SerializeToString() + EMPTY_GROUP,
        EMPTY_GROUP + unlike_graph().SerializeToString(),
        in_branch(RANDOM).SerializeToString() + EMPTY_GROUP,
        under_a_name_of_the_runtime(helper.make_node("Neg", ["numbers"], ["y"]), "").SerializeToString(),
        under_a_name_of_the_runtime(helper.make_node("Neg", ["numbers"], ["y"]), "ai.onnx").SerializeToString(),
        under_a_name_of_the_runtime(helper.make_node("Neg", ["numbers"], ["y"]), "own", "b").SerializeToString(),
    ],
    ids=["group behind", "group before", "group behind a branch", "function", "function of ai.onnx", "overload"],
)
def test_no_bytes_around_an_operator_hide_it(tmp_path: Path, content: bytes) -> None:
    bundle = write_bundle(tmp_path / "b")
    (bundle / "model.onnx").write_bytes(content)
    seal(bundle)
    with pytest.raises(DeploymentError, match=r"model\.onnx: found the operators .*RandomUniformLike; expected"):
        load_model(bundle)


def test_a_file_in_the_format_of_the_runtime_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(bundle / "model.onnx")
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.log_severity_level = 4
    ort.InferenceSession(unlike_graph().SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert (bundle / "model.onnx").read_bytes()[4:8] == b"ORTM"
    seal(bundle)
    with pytest.raises(DeploymentError, match=r"model\.onnx: found bytes that cannot be read; expected an ONNX graph"):
        load_model(bundle)


def test_bytes_that_protobuf_reads_are_not_read_in_the_format_of_the_runtime(tmp_path: Path) -> None:
    text = onnx.ModelProto(producer_name="\x00\x00ORTM" + " " * 100).SerializeToString()
    content = text + line_graph(2.0).SerializeToString()
    assert content[4:8] == b"ORTM"
    bundle = write_bundle(tmp_path / "b")
    (bundle / "model.onnx").write_bytes(content)
    seal(bundle)
    assert load_model(bundle).version == "1.0.0"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=6), st.integers(0, 3)), min_size=1, max_size=3))
def test_what_the_runtime_opens_was_read_alike(damages: list[tuple[int, bytes, int]]) -> None:
    content = in_branch(RANDOM).SerializeToString()
    for place, inserted, removed in damages:
        cut = place % (len(content) + 1)
        content = content[:cut] + inserted + content[cut + removed :]
    if find_unsafe(content) is None:
        with contextlib.suppress(Exception):
            session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
            assert not is_random(session), content


def is_random(session: ort.InferenceSession) -> bool:
    row = {each.name: np.ones((4, 1)) for each in session.get_inputs()}
    first, second = (session.run(None, row) for _ in range(2))
    return any(not np.array_equal(*each) for each in zip(first, second, strict=True))


def test_the_messages_that_are_read_are_those_of_onnx() -> None:
    for name, fields in FIELDS.items():
        there = getattr(onnx, name).DESCRIPTOR.fields_by_name
        for field, (number, kind, several) in fields.items():
            found = there[field]
            assert (found.number, found.is_repeated) == (number, several)
            assert found.message_type is None or kind in {found.message_type.name, "bytes"}


def test_every_message_with_a_node_or_a_tensor_in_it_is_read() -> None:
    """Walk onnx.proto: a field that leads to a node or to a tensor must not be passed over."""
    waiting, seen = ["ModelProto"], set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for field in getattr(onnx, name).DESCRIPTOR.fields:
            inside = field.message_type.name if field.message_type else ""
            if inside in FIELDS:
                assert FIELDS[name].get(field.name, ("", ""))[1] == inside, f"{name}.{field.name}"
                waiting += [inside] if inside not in seen else []
    assert seen == set(FIELDS)


def test_operators_are_those_of_functions_that_the_file_defines(tmp_path: Path) -> None:
    graph = in_function(helper.make_node("ReduceSum", ["numbers"], ["y"], keepdims=1))
    assert load_model(write_bundle(tmp_path / "b", graph=graph)).predict(np.array([[4.0]]), None).values == [4.0]


@pytest.mark.parametrize("name", ["model.onnx", "signature.json"])
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, name: str) -> None:
    bundle = write_bundle(tmp_path / "b")
    sizes = {each: (bundle / each).stat().st_size for each in ("model.onnx", "signature.json")}
    assert load_model(bundle, max(sizes.values())).version == "1.0.0"
    with (bundle / name).open("ab") as file:
        file.truncate(2**40)  # sparse: reading it would fail otherwise
    with pytest.raises(DeploymentError, match=rf"{name}: found {2**40} bytes; expected at most 5000 \(MODELRAIL_SERVE"):
        load_model(bundle, 5000)


def test_the_native_fallback_predicts_with_an_estimator(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from skops import io

    estimator = LogisticRegression().fit(np.array([[0.0], [1.0]], dtype=np.float32), [0, 1])
    single = helper.make_tensor_value_info("matrix", TensorProto.FLOAT, [None, 1])
    cast = make_model(
        [helper.make_node("Cast", ["numbers"], ["matrix"], to=TensorProto.FLOAT)], [numbers_input(1)], [single]
    )
    signature = Signature("classification", (Input("x", "float"),), ("low", "high"), {"x": 0.0})
    bundle = write_bundle(tmp_path / "b", signature=signature)
    (bundle / "model.onnx").unlink()
    onnx.save_model(cast, bundle / "preprocess.onnx")
    (bundle / "estimator.skops").write_bytes(io.dumps(estimator))
    seal(bundle)
    model = load_model(bundle)
    predictions = model.predict(np.array([[-9.0], [9.0]]), None)
    assert model.outputs(predictions) == ["low", "high"]
    assert predictions.probabilities.shape == (2, 2)


def test_an_estimator_of_foreign_types_is_refused(tmp_path: Path) -> None:
    from pathlib import PurePosixPath

    from skops import io

    bundle = write_bundle(tmp_path / "b")
    (bundle / "model.onnx").unlink()
    onnx.save_model(line_graph(1.0), bundle / "preprocess.onnx")
    (bundle / "estimator.skops").write_bytes(io.dumps({"path": PurePosixPath("x")}))
    seal(bundle)
    with pytest.raises(DeploymentError, match=r"found pathlib\.PurePosixPath; expected an estimator of scikit-learn"):
        load_model(bundle)


def test_the_server_imports_neither_pandas_nor_scikit_learn() -> None:
    heavy = "pandas", "sklearn", "onnx", "skops"
    code = f"import sys, pipeline.serving.process.server; print([each for each in {heavy} if each in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=child_environment(), check=True
    )
    assert found.stdout.strip() == "[]"
