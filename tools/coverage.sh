#!/bin/sh
# What the tests reach: lines and branches of the nogil code (gcov) and of the Python (coverage.py),
# in build/gcov. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
tools/copy.sh gcov
cd build/gcov
export FASTLB_BUILD=gcov FASTLB_PROBES=1 PYTHONPATH=$PWD
"$python" setup.py -q build_ext --inplace
find build -name '*.gcda' -exec rm -f {} +
status=0
"$python" -m coverage erase
"$python" -m coverage run -m pytest --no-build -o timeout=240 \
    --ignore=tests/packaging --ignore=tests/tidy "$@" || status=$?
"$python" -m coverage combine -q
"$python" -m coverage report --skip-empty
"$python" -m tools.core_coverage build
exit "$status"
