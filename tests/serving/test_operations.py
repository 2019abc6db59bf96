"""Limits, access and several releases, on live servers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import queue
import re
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.errors import DeploymentError, InputError
from pipeline.serving.inference.access import Access
from pipeline.serving.inference.fleet import load_fleet
from pipeline.serving.lineup import LineupEntry
from pipeline.serving.observing.capture import Capture
from pipeline.serving.observing.metrics import Meters
from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.scoring.answers import Reply
from pipeline.serving.scoring.model import load_model
from pipeline.serving.scoring.questions import Question
from pipeline.serving.settings import Settings, settings_from
from pipeline.storage.captures import CaptureFiles
from tests.serving.bundles import LINE, write_bundle
from tests.serving.conftest import Start
from tests.serving.test_server import BODY, REQUEST, call, connect, predict, read_answers

SECRET = "s" * 32


def test_settings_name_every_variable_that_cannot_be_read() -> None:
    given = {"MODELRAIL_SERVE_MAX_ROWS": "many", "MODELRAIL_SERVE_SPEED": "1", "MODELRAIL_SERVE_TLS_KEY_FILE": "k"}
    with pytest.raises(InputError) as caught:
        settings_from(given)
    assert "MODELRAIL_SERVE_MAX_ROWS: found 'many'; expected int" in str(caught.value)
    assert "MODELRAIL_SERVE_SPEED: found an unknown setting" in str(caught.value)
    assert "TLS_CERTIFICATE_FILE: found without its other half" in str(caught.value)


def test_settings_are_read_in_their_types() -> None:
    settings = settings_from({"MODELRAIL_SERVE_CORS_ORIGINS": "https://a, https://b", "MODELRAIL_SERVE_MAX_ROWS": "7"})
    assert (settings.cors_origins, settings.max_rows) == (("https://a", "https://b"), 7)


def test_too_many_rows_are_refused(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRAIL_SERVE_MAX_ROWS", "2")
    status, _, answer = predict(start(write_bundle(tmp_path / "b")), {"inputs": [[1], [2], [3]]})
    assert (status, answer["error"]) == (422, "found 3 rows; expected at most 2 (send them in several requests)")


def test_one_request_too_many_is_told_when_to_come_again(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRAIL_SERVE_MAX_CONCURRENT", "1")
    live = start(write_bundle(tmp_path / "b"))
    with connect(live) as waiting:
        waiting.sendall(REQUEST[:-5])
        assert call(live, "GET", "/readyz")[0] == 200
        status, headers, answer = predict(live, BODY)
        assert (status, headers["retry-after"]) == (429, "1")
        assert answer["error"] == "found more than 1 requests at work; expected one to end first"
        waiting.sendall(REQUEST[-5:])
        assert b'"outputs":[1.28]' in read_answers(waiting, 1)
    assert predict(live, BODY)[0] == 200


def test_work_that_takes_too_long_is_told_to_come_again(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRAIL_SERVE_ANSWER_TIMEOUT_S", "0.001")
    live = start(write_bundle(tmp_path / "b"))
    status, headers, _ = predict(live, {"inputs": [[1.5]] * 200_000})
    assert (status, headers["retry-after"]) == (503, "1")
    assert predict(live, BODY)[0] == 200


def test_a_head_that_does_not_end_is_refused(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRAIL_SERVE_BODY_TIMEOUT_S", "0.2")
    live = start(write_bundle(tmp_path / "b"))
    with connect(live) as slow:
        slow.sendall(b"POST /api/predict HTTP/1.1\r\nhost:")
        assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
    with connect(live) as slow:
        slow.sendall(REQUEST[:-5])
        assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
    with connect(live) as silent:
        assert silent.recv(65536) == b""


def test_an_idle_connection_is_closed_after_its_last_answer(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRAIL_SERVE_KEEP_ALIVE_S", "1")
    live = start(write_bundle(tmp_path / "b"))
    with connect(live) as connection:
        for _ in range(2):
            connection.sendall(REQUEST)
            assert b'"outputs"' in read_answers(connection, 1)
        asked = time.monotonic()
        assert connection.recv(65536) == b""
        assert time.monotonic() - asked > 0.9


def test_a_head_without_end_is_refused(start: Start, tmp_path: Path) -> None:
    with connect(start(write_bundle(tmp_path / "b"))) as connection:
        connection.sendall(b"POST /api/predict HTTP/1.1\r\nx: ")
        received = b""
        try:
            for _ in range(10_000):
                connection.sendall(b"y" * 4096)
        except OSError:
            received = b"refused"
        assert received == b"refused" or connection.recv(65536).startswith(b"HTTP/1.1 431 ")


@pytest.fixture(scope="module")
def guarded(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("guarded")
    digest = hashlib.sha256(b"hidden").hexdigest()
    (folder / "keys").write_text(f"# who may ask\nalice plain\nbob sha256:{digest}\n")
    (folder / "secret").write_text(SECRET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELRAIL_SERVE_API_KEYS_FILE", str(folder / "keys"))
        patch.setenv("MODELRAIL_SERVE_JWT_KEY_FILE", str(folder / "secret"))
        patch.setenv("MODELRAIL_SERVE_JWT_AUDIENCE", "predictions")
        return start(write_bundle(folder / "b"))


def token(**claims: Any) -> str:
    return jwt.encode({"exp": time.time() + 3600, "aud": "predictions", "sub": "carol", **claims}, SECRET)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 401),
        ({"x-api-key": "wrong"}, 401),
        ({"x-api-key": "plain"}, 200),
        ({"authorization": "Bearer hidden"}, 200),
        ({"authorization": f"Bearer {token()}"}, 200),
        ({"authorization": f"Bearer {token(exp=1)}"}, 401),
        ({"authorization": f"Bearer {token(aud='other')}"}, 401),
        ({"authorization": "Basic hidden"}, 401),
        ({"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}, 401),
    ],
)
def test_only_who_is_known_is_answered(guarded: Any, headers: dict[str, str], expected: int) -> None:
    status, _, answer = call(guarded, "POST", "/api/predict", BODY, **headers)
    assert status == expected, answer
    assert call(guarded, "GET", "/version", **headers)[0] == expected
    assert call(guarded, "GET", "/healthz", **headers)[0] == 200


def test_the_log_tells_who_asked_and_no_key(guarded: Any) -> None:
    call(guarded, "POST", "/api/predict", BODY, **{"x-api-key": "plain"})
    call(guarded, "GET", "/healthz")  # the line is written in the turn after the answer
    written = guarded.log.read_text()
    assert json.loads(written.splitlines()[-1])["user.name"] == "alice"
    assert "plain" not in written


def test_other_sites_may_ask_only_if_they_are_named(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = start(write_bundle(tmp_path / "a"))
    assert "access-control-allow-origin" not in call(plain, "POST", "/api/predict", BODY, origin="https://a")[1]
    monkeypatch.setenv("MODELRAIL_SERVE_CORS_ORIGINS", "https://a")
    live = start(write_bundle(tmp_path / "b"))
    for method in ("POST", "OPTIONS"):
        headers = call(live, method, "/api/predict", BODY, origin="https://a")[1]
        assert headers["access-control-allow-origin"] == "https://a"
    assert "access-control-allow-origin" not in call(live, "POST", "/api/predict", BODY, origin="https://evil")[1]


def test_tls_is_spoken_with_a_certificate(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "c")]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("MODELRAIL_SERVE_TLS_CERTIFICATE_FILE", str(tmp_path / "c"))
    monkeypatch.setenv("MODELRAIL_SERVE_TLS_KEY_FILE", str(tmp_path / "k"))
    live = start(write_bundle(tmp_path / "b"))
    context = ssl.create_default_context(cafile=str(tmp_path / "c"))
    with closing(http.client.HTTPSConnection("127.0.0.1", live.port, timeout=20, context=context)) as connection:
        connection.request("POST", "/api/predict", BODY)
        assert b'"outputs":[1.28]' in connection.getresponse().read()


def metric(live: Any, line: str) -> float:
    text = call(live, "GET", "/metrics")[2]
    return sum(float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line))


def test_a_canary_answers_its_share_and_a_shadow_is_only_compared(start: Start, tmp_path: Path) -> None:
    old, new, other = (
        write_bundle(tmp_path / name, version=f"{number}.0.0", slope=float(number))
        for number, name in ((2, "old"), (3, "new"), (4, "other"))
    )
    live = start(old, "--bundle", f"canary:0.5:{new}", "--bundle", f"shadow:1.0:{other}")
    with ThreadPoolExecutor(4) as callers:
        answers = [each[2] for each in callers.map(lambda _: predict(live, {"inputs": [[1]]}), range(200))]
    by_version: dict[str, list[Any]] = {"2.0.0": [], "3.0.0": []}
    for answer in answers:
        by_version[answer["version"]].append(answer["outputs"])
    assert 50 < len(by_version["3.0.0"]) < 150
    assert by_version["2.0.0"] == [[3.0]] * len(by_version["2.0.0"])
    assert by_version["3.0.0"] == [[4.0]] * len(by_version["3.0.0"])
    counted = 'ml_inference_requests_total{model="line",status="200",track="canary",version="3.0.0"}'
    assert metric(live, counted) == len(by_version["3.0.0"])
    asked = 'ml_inference_shadow_rows_total{model="line",track="shadow",version="4.0.0"}'
    different = 'ml_inference_shadow_differences_total{model="line",track="shadow",version="4.0.0"}'
    assert metric(live, asked) == metric(live, different) > 0


def test_several_models_and_versions_answer_in_one_process(start: Start, tmp_path: Path) -> None:
    first, second = (write_bundle(tmp_path / v, version=v, slope=float(v[0])) for v in ("2.0.0", "3.0.0"))
    wave = write_bundle(tmp_path / "wave", model="wave", slope=9.0)
    live = start(first, "--bundle", str(second), "--bundle", str(wave))
    paths = {
        "/api/predict": 3.0,
        "/api/models/line/predict": 3.0,
        "/api/models/line/versions/3.0.0/predict": 4.0,
        "/api/models/line/versions/v3.0.0/predict": 4.0,
        "/api/models/wave/predict": 10.0,
    }
    assert {path: call(live, "POST", path, {"inputs": [[1]]})[2]["outputs"][0] for path in paths} == paths
    status, _, answer = call(live, "POST", "/api/models/nothing/predict", {"inputs": [[1]]})
    assert (status, answer["error"]) == (404, "found no model 'nothing'; expected one of line, wave")
    status, _, answer = call(live, "POST", "/v2/models/line/versions/9/infer", {"inputs": []})
    assert (status, answer["error"]) == (404, "found no version '9'; expected one of 3.0.0, 2.0.0")


def test_a_canary_needs_a_live_release(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    with pytest.raises(DeploymentError, match="line: found only a canary; expected a live release beside it"):
        load_fleet((LineupEntry(bundle, "canary", 0.1),), Meters(None, 0, {}), Settings())


def test_a_trace_is_accepted_and_passed_on(start: Start, tmp_path: Path) -> None:
    live = start(write_bundle(tmp_path / "b"))
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = call(live, "POST", "/api/predict", BODY, traceparent=f"00-{trace}-b7ad6b7169203331-01")[1]
    assert headers["traceparent"].startswith(f"00-{trace}-")
    assert "b7ad6b7169203331" not in headers["traceparent"]
    openmetrics = call(live, "GET", "/metrics", accept="application/openmetrics-text; version=1.0.0")[2]
    assert f'# {{trace_id="{trace}"}}' in openmetrics
    assert json.loads(live.log.read_text())["trace.id"] == trace


def test_a_sample_is_kept_without_what_is_private(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SHARE": "1", "TO": str(tmp_path / "kept"), "PRIVATE": "x=hash"}.items():
        monkeypatch.setenv(f"MODELRAIL_SERVE_CAPTURE_{name}", value)
    live = start(write_bundle(tmp_path / "b"))
    answer = predict(live, BODY)[2]
    live.process.terminate()
    assert live.process.wait(20) == 0
    (file,) = (tmp_path / "kept").rglob("*.jsonl")
    assert file.relative_to(tmp_path / "kept").parts[:3] == ("captures", "line", "1.0.0")
    line = json.loads(file.read_text())
    assert (line["id"], line["output"]) == (answer["id"], 1.28)
    assert set(line["record"]) == {each.name for each in LINE.inputs}
    assert line["record"]["x"] != 0.14


def test_captures_are_removed_by_their_age(tmp_path: Path) -> None:
    files, now = CaptureFiles(str(tmp_path)), time.time()
    for model in ("line", "other"):
        for age in (5, 29, 32, 200):
            files.write(model, "0.9.0", b'{"time": 0}\n', now - age * 86_400)
    model = load_model(write_bundle(tmp_path / "b"))
    capture = Capture(Settings(capture_share=1.0, capture_to=str(tmp_path), capture_keep_days=30))
    question = Question(lambda _: Reply(200, b""), listed=[{"x": 0.14}])
    capture.offer(model, question, model.predict(np.array([[0.14]]), None), "asked")
    capture.close()
    left = {name: len(list((tmp_path / "captures" / name).rglob("*.jsonl"))) for name in ("line", "other")}
    assert left == {"line": 3, "other": 4}
    (kept,) = (tmp_path / "captures/line/1.0.0").rglob("*.jsonl")
    assert json.loads(kept.read_text())["id"] == "asked"


def test_a_private_column_that_no_model_has_is_refused(tmp_path: Path) -> None:
    settings = Settings(capture_private=("xs=hash", "x=drop"))
    with pytest.raises(DeploymentError, match=r"CAPTURE_PRIVATE: found the column 'xs'; expected a column of the mode"):
        load_fleet((LineupEntry(write_bundle(tmp_path / "b")),), Meters(None, 0, {}), settings)


def test_a_request_that_cannot_be_kept_costs_itself_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = load_model(write_bundle(tmp_path / "b"))
    settings = Settings(capture_share=1.0, capture_to=str(tmp_path / "kept"))
    capture, predictions = Capture(settings), model.predict(np.array([[0.14]]), None)
    for name, row in {"bad": {"x": "\ud800"}, "good": {"x": 0.14}}.items():
        capture.offer(model, Question(lambda _: Reply(200, b""), listed=[row]), predictions, name)
    capture.close()
    (file,) = (tmp_path / "kept").rglob("*.jsonl")
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == ["good"]
    assert capfd.readouterr().err == "capture: found UnicodeEncodeError with bad; it is left out\n"


def test_a_trace_reaches_a_collector(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector reads OTLP with OpenTelemetry's own messages."""
    received: queue.Queue[ExportTraceServiceRequest] = queue.Queue()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/json")
            received.put(json_format.Parse(_with_base64_ids(body), ExportTraceServiceRequest()))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        monkeypatch.setenv("MODELRAIL_SERVE_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        live = start(write_bundle(tmp_path / "b"))
        trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        unsampled = call(live, "POST", "/api/predict", BODY, traceparent=f"00-{trace}-{caller}-00")[1]
        passed_on = call(live, "POST", "/api/predict", BODY, traceparent=f"00-{trace}-{caller}-01")[1]["traceparent"]
        begun = call(live, "POST", "/api/predict", b"{")[1]["traceparent"]
        spans: list[Any] = []
        while len(spans) < 2:
            (resource,) = received.get(timeout=20).resource_spans
            assert [each.key for each in resource.resource.attributes] == ["service.name"]
            spans += [span for scope in resource.scope_spans for span in scope.spans]
        collector.shutdown()
    assert unsampled["traceparent"].endswith("-00")
    followed, own = spans
    assert f"00-{followed.trace_id.hex()}-{followed.span_id.hex()}-01" == passed_on
    assert (followed.trace_id.hex(), followed.parent_span_id.hex()) == (trace, caller)
    assert f"00-{own.trace_id.hex()}-{own.span_id.hex()}-01" == begun
    assert own.parent_span_id == b""
    assert 0 < followed.end_time_unix_nano - followed.start_time_unix_nano < 10**10
    facts = {each.key: each.value.int_value or each.value.string_value for each in own.attributes}
    assert facts["http.response.status_code"] == 400


def _with_base64_ids(body: bytes) -> str:
    """Write ids in base64, as protobuf's JSON has them; OTLP's has them in hexadecimal."""
    found = re.compile(r'"(traceId|spanId|parentSpanId)":"([0-9a-f]*)"')
    return found.sub(lambda m: f'"{m[1]}":"{base64.b64encode(bytes.fromhex(m[2])).decode()}"', body.decode())


@pytest.mark.parametrize(
    ("key", "algorithm", "other"),
    [
        (rsa.generate_private_key(65537, 2048), "RS256", rsa.generate_private_key(65537, 2048)),
        (ec.generate_private_key(ec.SECP256R1()), "ES256", ec.generate_private_key(ec.SECP256R1())),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["RS256", "ES256", "EdDSA"],
)
def test_a_token_is_checked_with_a_public_key(tmp_path: Path, key: Any, algorithm: str, other: Any) -> None:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    access = Access(Settings(jwt_key_file=tmp_path / "public.pem", jwt_issuer="us"))
    claims = {"exp": time.time() + 60, "sub": "carol", "iss": "us"}

    def given(token: str) -> dict[bytes, bytes]:
        return {b"authorization": b"Bearer " + token.encode()}

    assert access.check(given(jwt.encode(claims, key, algorithm))) == "carol"
    refused = [
        jwt.encode(claims, other, algorithm),
        jwt.encode(claims | {"iss": "them"}, key, algorithm),
        jwt.encode({"sub": "carol", "iss": "us"}, key, algorithm),
        jwt.encode(claims, None, "none"),
        _sign_with_public_key(claims, public),
        *(_claim(claims, each) for each in ("RS256", "PS512", "ES256", "ES512", "EdDSA", "HS256", "none", "odd")),
        "a.b.c",
        "é" * 100,
    ]
    for token in refused:
        with pytest.raises(RejectedError, match="found a token that does not hold") as caught:
            access.check(given(token))
        assert caught.value.status == 401


def _claim(claims: dict[str, Any], algorithm: str) -> str:
    """Forge a token that says it was signed by some algorithm."""
    parts = [json.dumps(each).encode() for each in ({"alg": algorithm, "typ": "JWT"}, claims)]
    return b".".join([*(base64.urlsafe_b64encode(each).rstrip(b"=") for each in parts), b"A" * 86]).decode()


def test_forged_tokens_keep_no_place(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    monkeypatch.setenv("MODELRAIL_SERVE_JWT_KEY_FILE", str(tmp_path / "public.pem"))
    monkeypatch.setenv("MODELRAIL_SERVE_MAX_CONCURRENT", "3")
    live = start(write_bundle(tmp_path / "bundle"))
    claims = {"exp": time.time() + 600}
    for algorithm in ("ES256", "EdDSA", "HS256", "none"):
        for _ in range(2):
            headers = {"authorization": f"Bearer {_claim(claims, algorithm)}"}
            assert call(live, "POST", "/api/predict", BODY, **headers)[0] == 401
    good = {"authorization": f"Bearer {jwt.encode(claims, key, 'RS256')}"}
    assert call(live, "POST", "/api/predict", BODY, **good)[0] == 200


def _sign_with_public_key(claims: dict[str, Any], public: bytes) -> str:
    """Forge a token: the public key, which everybody knows, taken for a shared secret."""
    parts = [json.dumps(each).encode() for each in ({"alg": "HS256", "typ": "JWT"}, claims)]
    said = b".".join(base64.urlsafe_b64encode(each).rstrip(b"=") for each in parts)
    digest = base64.urlsafe_b64encode(hmac.digest(public, said, "sha256")).rstrip(b"=")
    return (said + b"." + digest).decode()


def test_a_private_key_is_not_taken_for_the_public_one(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "k").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(DeploymentError, match="found a private key; expected the public one"):
        Access(Settings(jwt_key_file=tmp_path / "k"))


def test_another_sites_page_may_ask_with_credentials_of_its_own(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser asks first without credentials, and reads a refusal only if that names its origin too."""
    (tmp_path / "keys").write_text("alice plain\n")
    monkeypatch.setenv("MODELRAIL_SERVE_API_KEYS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("MODELRAIL_SERVE_CORS_ORIGINS", "https://a,https://b")
    live = start(write_bundle(tmp_path / "b"))
    asked = {"origin": "https://b", "access-control-request-method": "POST"}
    status, headers, _ = call(live, "OPTIONS", "/api/predict", None, **asked)
    assert (status, headers["access-control-allow-methods"]) == (204, "GET, POST")
    assert "x-api-key" in headers["access-control-allow-headers"]
    for key, expected in {"wrong": 401, "plain": 200}.items():
        status, headers, _ = call(live, "POST", "/api/predict", BODY, origin="https://b", **{"x-api-key": key})
        assert (status, headers["access-control-allow-origin"], headers["vary"]) == (expected, "https://b", "origin")
    assert "access-control-allow-credentials" not in headers
    monkeypatch.setenv("MODELRAIL_SERVE_CORS_ORIGINS", "*")
    anybody = start(write_bundle(tmp_path / "c"))
    assert call(anybody, "GET", "/healthz", origin="https://z")[1]["access-control-allow-origin"] == "https://z"
