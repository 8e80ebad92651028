#!/bin/bash
# Compile a folder's Python for good: nobody can write bytecode into an image, and each rule starts Python anew.
# By content, not by time of the source, so that the same files give the same bytecode (PEP 552).
set -euo pipefail
# A few packages ship templates and tests that are no valid Python; pip does not mind either.
python3 -m compileall -q -f --invalidation-mode unchecked-hash -j 0 "$@" >/tmp/compile.log 2>&1 ||
  echo "not compiled: $(grep -c '^\*\*\* ' /tmp/compile.log) files that are no valid Python"
rm -f /tmp/compile.log
