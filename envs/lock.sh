#!/bin/bash
# Resolve all versions again and write the locks beside this file: make lock, which gives UV, the path of uv.
#
# Everything is resolved together once, and each lock is a part of that: cuda.txt and slurm.txt, which hold what a GPU and
# a cluster need beside the others, then fit on top of runtime.txt and of dev.txt. A version stays as it is where it can;
# UPGRADE=1 takes the newest of all.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
all=$scratch/all.txt
read -ra upgrade <<<"${UPGRADE:+--upgrade}"

compile() { "$UV" pip compile --universal --python-version 3.11 --generate-hashes --quiet --no-header "$@"; }

names() { grep -ohE '^[a-z0-9._-]+' "$@" | sort -u; }

# part NAME [ARGUMENT...]: what these arguments need, in the versions of $all, without the packages that stdin names.
# That a version was given is told nowhere: it is true of each.
part() {
  local left_out
  mapfile -t left_out < <(sed 's/^/--no-emit-package=/')
  compile "${@:2}" --constraint "$all" "${left_out[@]}" --output-file "envs/$1.txt" >/dev/null
  perl -0pi -e 's/^    #   -c \S+\n//mg; s/^    # via\n    #   (\S.*)\n(?!    #   )/    # via $1\n/mg' "envs/$1.txt"
}

cat envs/dev.txt envs/cuda.txt envs/slurm.txt >"$all"
compile pyproject.toml --all-extras "${upgrade[@]}" --output-file "$all" >/dev/null
# torch and what only its CUDA build needs stand in cuda.txt. torch_cpu.txt, written by hand, has the CPU builds,
# which another index holds, and torch.txt what cuda.txt says of torch alone; torch_cuda.txt is what the CUDA build needs beside runtime.txt.
names "$all" | grep -E '^(torch|triton|cuda-.*|nvidia-.*)$' >"$scratch/torch"
part runtime pyproject.toml --extra gguf --extra test <"$scratch/torch"
part dev pyproject.toml --extra gguf --extra dev <"$scratch/torch"
names envs/runtime.txt | part cuda pyproject.toml --extra gguf --extra test --extra vllm
names envs/runtime.txt "$scratch/torch" | part slurm pyproject.toml --extra gguf --extra test --extra slurm
grep -E '^torch==' envs/torch.txt | cut -d ' ' -f 1 >"$scratch/torch.in"
names envs/runtime.txt "$scratch/torch.in" | part torch_cuda "$scratch/torch.in"

# Environments of their own.
echo cyclonedx-bom==7.5.0 | compile - "${upgrade[@]}" --output-file envs/sbom.txt >/dev/null
echo uv==0.13.9 | compile - "${upgrade[@]}" --output-file envs/uv.txt >/dev/null
echo pip-audit==2.10.1 | compile - "${upgrade[@]}" --output-file envs/audit.txt >/dev/null
printf 'roc-validator==0.13.0\nrocrate==0.15.0\n' |
  compile - "${upgrade[@]}" --output-file envs/crate.txt >/dev/null # this rocrate has the context of 1.1
echo mkdocs-material==9.8.1 | compile - "${upgrade[@]}" --output-file envs/docs.txt >/dev/null
printf 'skypilot==0.14.1\nkubernetes-validate==1.37.0\n' |
  compile - "${upgrade[@]}" --output-file envs/deploy.txt >/dev/null
