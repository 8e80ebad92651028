#!/bin/bash
# Keep the results of a command in a folder that outlives this machine: deploy/keep.sh FOLDER COMMAND [ARGUMENT...]
#
# What FOLDER has of an earlier machine is brought back first. While the command runs results/ and logs/ are copied to
# FOLDER every KEEP_SECONDS (300), and once more when it has ended. SIGTERM, SIGINT and SIGHUP are passed on to it, and
# its exit code is the script's. One machine at a time: FOLDER becomes what this one has.
set -euo pipefail

fail() {
  printf 'keep.sh: %s\n  fix: %s\n' "$1" "$2" >&2
  exit 2
}

(($# >= 2)) || fail "a folder and a command are needed" "deploy/keep.sh /kept snakemake --cores 1"
kept=$1
shift
[[ -d $kept && -w $kept ]] || fail "$kept is no folder that can be written" "mount it first, or make it"
command -v rsync >/dev/null || fail "rsync is not installed" "apt-get install rsync"

# Locks and half-written files belong to this machine. A file that is gone before it was copied (24) was not meant to
# stay; what replaced it is copied the next time.
copy() { # FROM TO
  local part code
  for part in results logs; do
    [[ -d $1/$part ]] || continue
    code=0
    rsync --archive --no-owner --no-group --delete-after --exclude '*.tmp' --exclude .workflow.lock \
      "$1/$part/" "$2/$part/" || code=$?
    ((code == 0 || code == 24)) || return "$code"
  done
}

# Without what is there already the command would begin anew, and then take its place in the folder.
copy "$kept" . || fail "$kept cannot be brought back" "look at the folder and this machine's disk"

"$@" &
command=$!
trap 'kill -TERM "$command" 2>/dev/null || true' TERM INT HUP
next=$((SECONDS + ${KEEP_SECONDS:-300}))
while kill -0 "$command" 2>/dev/null; do
  sleep 1 &
  wait $! || true # a signal ends the wait, not the sleep
  ((SECONDS < next)) && continue
  copy . "$kept" || echo "keep.sh: results were not copied to $kept; the next try is in ${KEEP_SECONDS:-300} s" >&2
  next=$((SECONDS + ${KEEP_SECONDS:-300}))
done
code=0
wait "$command" || code=$?
copy . "$kept" || fail "the last results were not copied to $kept" "copy results/ by hand before you give the machine back"
exit "$code"
