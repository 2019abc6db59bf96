# The prediction server: ONNX Runtime and the server, nothing else. A release is this image and one more layer, with its
# model in /model, which 'modelrail run' appends in the registry. Build: modelrail images build serving --tag NAME
# For models of images: modelrail images build serving --tag NAME -- --build-arg EXTRAS=images
# For captures in an object store: --build-arg EXTRAS=s3 (both: --build-arg EXTRAS="images s3")
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ARG EXTRAS=""
COPY requirements-[^d]*.txt docker/sbom.py /build/
RUN for each in serving ${EXTRAS}; do \
      python -m pip install --quiet --no-cache-dir --no-compile --no-deps --only-binary=:all: --require-hashes \
          --upgrade --target /app/site -r "/build/requirements-$each.txt" || exit 1; \
    done \
 && rm -rf /app/site/bin /app/site/onnxruntime/transformers /app/site/onnxruntime/tools /app/site/onnxruntime/quantization \
 && find /app/site -type d -name tests -prune -exec rm -rf {} +
COPY docker/modules.py /build/
COPY pipeline/ /build/pipeline/
# The root file system is read-only at run time, so bytecode is made now: in one process, in one order and with one hash
# seed, since it is to be the same bytes each time. It is not checked against the sources, whose times are all one.
RUN python /build/modules.py /build/pipeline /app/pipeline \
 && python /build/sbom.py /app/site > /app/sbom.cdx.json \
 && PYTHONHASHSEED=0 python -m compileall -q --invalidation-mode unchecked-hash /app/site /app/pipeline \
 && find /app -exec touch -h -d @0 {} +

FROM ${BASE_IMAGE}
COPY --from=build /app /app
ENV PYTHONPATH=/app/site:/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-P", "-m", "pipeline.serving.process.server", "--bundle", "/model", "--host", "0.0.0.0"]
