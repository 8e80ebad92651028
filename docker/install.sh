#!/bin/bash
# Last step of an image: install the package that lies in /opt/reinforce-lite, and take the sum of everything under /opt.
set -euo pipefail
cd /opt/reinforce-lite
chmod -R a+rX .
pip install --no-cache-dir --no-compile --no-deps --no-build-isolation --disable-pip-version-check --editable .
docker/compile.sh src
docker/entrypoint.sh contents >/opt/contents.sha256
