#!/bin/bash
# What the image does, by word; see `help` below.
set -euo pipefail
IMAGE_HOME=/opt/reinforce-lite

help() {
  cat <<HELP
reinforce-lite ${REINFORCE_LITE_IMAGE#*:} (commit ${REINFORCE_LITE_COMMIT:-unknown})

  docker run --rm --user "\$(id -u):\$(id -g)" -v "\$PWD:/work" IMAGE WORD [ARGUMENT...]

  reproduce  the whole workflow, in /work; this is the default. Arguments go to snakemake: -n shows what would run,
             --configfile config/smollm.yaml runs another configuration (yours in /work, or one of the image's).
             With a GPU: --gpus all -v "\$HOME/.cache/huggingface:/cache/huggingface" -e HF_TOKEN
  tiny       the same on the tiny world: no GPU, no network, minutes
  ui         MLflow on the runs in /work/results, port 5000: add -p 127.0.0.1:5000:5000.
             Reached by another name than localhost or a private address? -e UI_HOSTS=my.host,other.host
  test       the image's own tests; arguments go to pytest (-m "" runs the slow ones too)
  shell      bash, or the command that follows
  sbom       the Python packages in the image, as CycloneDX JSON
  contents   the SHA-256 of all files under /opt: images with the same one hold the same code
  help       this

Results are in /work/results; they belong to the --user that you give. A run that was stopped goes on by the same command.
HELP
}

fail() {
  printf 'reinforce-lite: %s\n  fix: %s\n' "$1" "$2" >&2
  exit 2
}

# What a run costs must not end in a folder that goes with the container, or that cannot be written.
check_work() {
  local me; me=$(id -u):$(id -g)
  mountpoint -q /work || fail "nothing is mounted at /work, so the results would go with the container" \
    "add -v \"\$PWD:/work\""
  local folder
  for folder in /work /work/results /work/logs /work/.snakemake; do
    [[ ! -e $folder || -w $folder ]] || fail \
      "$folder cannot be written by $me; it belongs to $(stat -c %u:%g $folder)" \
      "run as its owner (--user \"\$(id -u):\$(id -g)\"), or make the folder writable"
  done
  local free; free=$(df --output=avail -k /work | tail -1)
  ((free >= 65536)) || fail "/work has $((free / 1024)) MiB free, and a run cannot even start in less than 64" \
    "free some disk space, or mount another folder"
}

# A mounted folder that does not exist yet is made by Docker, as root. Without one, what is downloaded and compiled goes
# with the container.
check_cache() {
  if [[ ! -d $HF_HOME || ! -w $HF_HOME ]]; then
    mountpoint -q "$HF_HOME" && fail "$HF_HOME cannot be written by $(id -u):$(id -g)" \
      "make the folder on the host first (mkdir -p), as the user that you give with --user"
    local name
    for name in VLLM_CACHE_ROOT TRITON_CACHE_DIR TORCHINDUCTOR_CACHE_DIR; do
      export "$name=${!name/#"$HF_HOME"/\/tmp\/huggingface}"
    done
    export HF_HOME=/tmp/huggingface
  fi
}

# The image's workflow on the folder's results. A file config/x.yaml that the folder lacks is the image's.
workflow() {
  check_work
  check_cache
  cd /work
  local arguments=() argument
  for argument; do
    [[ $argument == config/*.yaml && ! -e $argument ]] && argument=$IMAGE_HOME/$argument
    arguments+=("$argument")
  done
  exec snakemake --snakefile "$IMAGE_HOME/Snakefile" --workflow-profile "$IMAGE_HOME/profiles/default" --cores 1 \
    "${arguments[@]}"
}

# MLflow refuses names it does not know, so that a page of somebody else's cannot talk to it.
ui() {
  cd /work
  [[ -e results/mlflow.db ]] || fail "/work/results/mlflow.db does not exist: no run has been recorded here" \
    "mount the folder in which results/ lies (-v \"\$PWD:/work\"), or run tiny first"
  local names=() hosts="localhost,localhost:*,127.0.0.1,127.0.0.1:*" origins="" name
  if [[ -n ${UI_HOSTS:-} ]]; then
    IFS=, read -ra names <<<"$UI_HOSTS"
    for name in "${names[@]}"; do
      hosts+=",$name,$name:*" origins+="${origins:+,}http://$name,http://$name:*,https://$name,https://$name:*"
    done
    set -- --allowed-hosts "$hosts" --cors-allowed-origins "$origins" "$@"
  fi
  echo "note: whoever reaches this port may read and change what the server shows; publish it to 127.0.0.1 alone"
  echo "open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
  exec mlflow server --backend-store-uri sqlite:////work/results/mlflow.db \
    --artifacts-destination /work/results/mlartifacts --host 0.0.0.0 --port 5000 "$@"
}

# In a copy: the tests write beside themselves, and /opt cannot be written.
run_tests() {
  check_cache
  local copy; copy=$(mktemp -d)
  cp -r "$IMAGE_HOME/." "$copy"
  cd "$copy"
  exec python -m pytest -p no:cacheprovider -m "not slow" "$@"
}

# Bytecode too; not the sum's own file.
contents() {
  cd /opt
  find . -type f ! -name contents.sha256 -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

word=${1:-reproduce}
shift || true
case $word in
  reproduce)
    mountpoint -q /cache/huggingface || echo "note: nothing is mounted at /cache/huggingface; downloads and compiled" \
      "kernels will go with the container (-v \"\$HOME/.cache/huggingface:/cache/huggingface\")" >&2
    workflow "$@"
    ;;
  tiny) workflow --cores 2 --configfile config/tiny.yaml "$@" ;;
  ui) ui "$@" ;;
  test) run_tests "$@" ;;
  shell)
    check_cache
    if (($#)); then exec "$@"; else exec bash; fi
    ;;
  sbom) cat /opt/sbom.cdx.json ;;
  contents) contents ;;
  help | --help | -h) help ;;
  *) help >&2; fail "'$word' is not one of these words" "for a command of your own: shell $word ..." ;;
esac
