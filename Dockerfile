# One file, two targets from the same code and the same locks:
#   docker build --target cpu  -t reinforce-lite:cpu .
#   docker build --target cuda -t reinforce-lite:cuda .
# The CUDA libraries come with torch's wheels, so a plain Debian is base enough.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git python3 \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    HF_HUB_DISABLE_TELEMETRY=1

FROM base AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/reinforce-lite
RUN python3 -m venv /opt/venv
COPY envs envs
RUN pip install --no-cache-dir --no-deps --require-hashes -r envs/runtime.txt

FROM build AS build-cpu
ARG TORCH_INDEX=
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r envs/torch.txt && pip check

FROM build AS build-cuda
RUN pip install --no-cache-dir --no-deps --require-hashes -r envs/cuda.txt && pip check

FROM base AS cpu
COPY --from=build-cpu /opt/venv /opt/venv
COPY . /opt/reinforce-lite
WORKDIR /opt/reinforce-lite
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .
CMD ["snakemake", "--cores", "1", "--configfile", "config/tiny.yaml"]

FROM base AS cuda
# Triton compiles its kernels when they are first used.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda /opt/venv /opt/venv
COPY . /opt/reinforce-lite
WORKDIR /opt/reinforce-lite
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .
CMD ["snakemake", "--cores", "1"]
