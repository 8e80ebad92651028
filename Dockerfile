# One file, two targets, from the same code and the locks in envs/:
#   docker build --target cpu  -t reinforce-lite:cpu .
#   docker build --target cuda -t reinforce-lite:cuda .
# (`make image` does it and passes commit and version.) The CUDA libraries come with torch's wheels, so a plain Debian is
# base enough. Same base, same locks, same commit: same files under /opt (`docker run --rm IMAGE contents`).
# By digest, of August 2026: docker pull debian:bookworm-slim prints that of today.
ARG BASE_IMAGE=debian:bookworm-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241

FROM ${BASE_IMAGE} AS base
# Debian's own Python, and an init.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/ldconfig/aux-cache

FROM base AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
# The time in the wheels that pip builds itself, so that they are the same each time.
ENV SOURCE_DATE_EPOCH=315532800 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_COMPILE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY envs/runtime.txt envs/
RUN pip install --no-deps --require-hashes -r envs/runtime.txt

# A lock of its own: the tool that lists what is in the image is not in the image.
FROM build AS sbom
COPY envs/sbom.txt envs/
RUN python3 -m venv /sbom && /sbom/bin/pip install --no-deps --require-hashes -r envs/sbom.txt

FROM build AS build-cpu
ARG TORCH_INDEX=
COPY envs/torch_cpu.txt envs/torch.txt envs/torch_cuda.txt envs/
RUN { pip install --no-deps --require-hashes ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r envs/torch_cpu.txt \
        || pip install --no-deps --require-hashes ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r envs/torch.txt; } \
    && { pip check >/dev/null || pip install --no-deps --require-hashes -r envs/torch_cuda.txt; } && pip check
COPY docker/compile.sh docker/
RUN docker/compile.sh /opt/venv

FROM build AS build-cuda
COPY envs/cuda.txt envs/
RUN pip install --no-deps --require-hashes -r envs/cuda.txt && pip check \
    && python -c 'import torch; assert torch.version.cuda, "this torch has no CUDA"; from vllm import LLM'
COPY docker/compile.sh docker/
RUN docker/compile.sh /opt/venv

FROM sbom AS sbom-cpu
RUN --mount=type=bind,from=build-cpu,source=/opt/venv,target=/opt/venv \
    /sbom/bin/cyclonedx-py environment --output-reproducible --of JSON -o /sbom.cdx.json /opt/venv/bin/python

FROM sbom AS sbom-cuda
RUN --mount=type=bind,from=build-cuda,source=/opt/venv,target=/opt/venv \
    /sbom/bin/cyclonedx-py environment --output-reproducible --of JSON -o /sbom.cdx.json /opt/venv/bin/python

# What both targets are at run time. Any uid may run them, on a read-only root: no home is needed, and what is written
# goes to /work, to the caches or to /tmp. What is compiled for a GPU lies in the hub's cache: one mount keeps both.
FROM base AS runtime
RUN install -d -m 1777 /work /cache/huggingface
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    USER=reinforce-lite \
    HF_HOME=/cache/huggingface \
    VLLM_CACHE_ROOT=/cache/huggingface/compiled/vllm \
    TRITON_CACHE_DIR=/cache/huggingface/compiled/triton \
    TORCHINDUCTOR_CACHE_DIR=/cache/huggingface/compiled/inductor \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    HF_HUB_DISABLE_TELEMETRY=1 \
    REINFORCE_LITE_CONTENTS=/opt/contents.sha256
LABEL org.opencontainers.image.source="https://github.com/reinforce-lite/reinforce-lite" \
    org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /work
EXPOSE 5000
# An init, so that a stopped container leaves at once; the workflow passes its signal on to the job that trains.
ENTRYPOINT ["/usr/bin/tini", "--", "/opt/reinforce-lite/docker/entrypoint.sh"]
CMD ["reproduce"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/venv /opt/venv
COPY --from=sbom-cpu /sbom.cdx.json /opt/
COPY . /opt/reinforce-lite
RUN /opt/reinforce-lite/docker/install.sh
ARG REVISION=unknown
ARG VERSION=unknown
ENV REINFORCE_LITE_COMMIT=${REVISION} \
    REINFORCE_LITE_IMAGE=reinforce-lite:${VERSION}-cpu
LABEL org.opencontainers.image.title="reinforce-lite (CPU)" \
    org.opencontainers.image.description="A budgeted reproduction of Reinforce-Lite on GSM8K: the tiny world on a CPU" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.version="${VERSION}"
USER 1000:1000

FROM runtime AS cuda
# Triton and Inductor compile when a kernel is first used, and Triton's launcher needs Python's headers.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libpython3-dev \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/ldconfig/aux-cache \
    && gcc -fsyntax-only -include Python.h -x c /dev/null \
        -I"$(python3 -c 'import sysconfig; print(sysconfig.get_path("include", "posix_prefix"))')"
COPY --from=build-cuda /opt/venv /opt/venv
COPY --from=sbom-cuda /sbom.cdx.json /opt/
COPY . /opt/reinforce-lite
RUN /opt/reinforce-lite/docker/install.sh
ARG REVISION=unknown
ARG VERSION=unknown
# NVIDIA's container runtime mounts the driver into images that ask for it like this.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    REINFORCE_LITE_COMMIT=${REVISION} \
    REINFORCE_LITE_IMAGE=reinforce-lite:${VERSION}
LABEL org.opencontainers.image.title="reinforce-lite" \
    org.opencontainers.image.description="A budgeted reproduction of Reinforce-Lite on GSM8K, on one NVIDIA GPU" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.version="${VERSION}" \
    reinforce-lite.cuda="13, in torch's wheels, not in the base; needs NVIDIA's driver 580 or later"
USER 1000:1000
