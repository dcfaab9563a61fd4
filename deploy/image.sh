#!/bin/sh
# Inside an image's build stage: leaves a virtual environment in /opt/touchline with a service, the production
# dependencies of its lock (deploy/locks/), and nothing else. The wheels of libraries and services lie in /wheels.
set -eu
service=$1
install() { /opt/build/bin/pip --python /opt/touchline/bin/python install --quiet --no-compile "$@"; }
python -m venv --without-pip /opt/touchline
install --require-hashes -r "deploy/locks/$service.txt"
# No index: this fails when the lock lacks a dependency that the service or one of its libraries declares.
install --no-index --find-links /wheels "touchline-$service"
# The compiled steps, beside the .pyx files that the wheels hold; an image without them is refused.
/opt/build/bin/python deploy/build_compiled.py --python /opt/touchline/bin/python /opt/touchline/lib
# unchecked-hash: byte code that does not depend on the time of the build, and is not checked against a source that a
# read-only file system can't change.
/opt/touchline/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/touchline/lib
