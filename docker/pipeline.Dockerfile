# The pipeline: what runs a step in a pod. Its code and its libraries are part of every key, so it is built from the very
# commit that Airflow runs. Build: modelrail images build pipeline --tag NAME (-- --build-arg EXTRAS="boosting text")
# Of the programs that packages bring, only uv (the extra isolation) is run.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS base
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends git ca-certificates >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log

FROM ${BASE_IMAGE} AS build
ARG EXTRAS=""
COPY requirements-[^d]*.txt /build/
# A package index of your own is a secret of the build: -- --secret id=pip,src=pip.conf
# All locks are installed at once: with --target, pip puts a folder in place of another of its name, and packages share some
# (google of protobuf and google-auth, nvidia of PyTorch and XGBoost).
# The root file system is read-only at run time, so bytecode is made now: in one process, in one order and with one hash
# seed, since it is to be the same bytes each time. It is not checked against the sources, whose times are all one. A file that a
# package has for a newer Python has none (PyTorch's py312_intrinsics). All in one layer: another would hold every file again.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf,required=false \
    python -m pip install --quiet --no-cache-dir --no-compile --no-deps --only-binary=:all: --require-hashes \
        --root-user-action=ignore --disable-pip-version-check --target /app/site \
        $(printf -- '-r /build/requirements-%s.txt ' pipeline ${EXTRAS}) \
 && find /app/site -mindepth 2 -maxdepth 2 -path '/app/site/bin/*' ! -name uv -exec rm -rf {} + \
 && find /app/site -mindepth 2 -type d -name tests -prune -exec rm -rf {} + \
 && { PYTHONHASHSEED=0 python -m compileall -qq --invalidation-mode unchecked-hash /app/site || true; } \
 && find /app -exec touch -h -d @0 {} +
COPY pyproject.toml /build/
COPY pipeline/ /own/pipeline/
RUN python -c 'import pathlib, tomllib; \
        version = tomllib.loads(pathlib.Path("/build/pyproject.toml").read_text())["project"]["version"]; \
        folder = pathlib.Path(f"/own/modelrail-{version}.dist-info"); folder.mkdir(); \
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: modelrail\nVersion: {version}\n")' \
 && find /own -type d -name __pycache__ -prune -exec rm -rf {} + \
 && PYTHONHASHSEED=0 python -m compileall -q --invalidation-mode unchecked-hash /own \
 && find /own -exec touch -h -d @0 {} +

FROM base
COPY --from=build /app/site /app/site
COPY --from=build /own /app
ENV PYTHONPATH=/app/site:/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["python", "-P", "-m", "pipeline"]
