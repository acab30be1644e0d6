#!/bin/sh
# The test suite on a build with AddressSanitizer and UndefinedBehaviorSanitizer, in build/asan.
# Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
tools/copy.sh asan
cd build/asan
export FASTLB_BUILD=asan FASTLB_PROBES=1
"$python" setup.py -q build_ext --inplace

logs=$PWD/build/logs
rm -rf "$logs"
mkdir -p "$logs"
gcc=${CC:-gcc}
# The interpreter isn't instrumented: its libraries have to be there before it starts, and leaks of
# its own are told apart afterwards, in processes that the tests start too.
export LD_PRELOAD="$($gcc -print-file-name=libasan.so) $($gcc -print-file-name=libubsan.so)"
export PYTHONMALLOC=malloc PYTHONPATH=$PWD
export ASAN_OPTIONS="detect_leaks=1:log_path=$logs/asan:exitcode=99:detect_stack_use_after_return=1"
export LSAN_OPTIONS="exitcode=0:max_leaks=0"
export UBSAN_OPTIONS="print_stacktrace=1:log_path=$logs/ubsan"
status=0
"$python" -m pytest --no-build -o timeout=240 -o faulthandler_timeout=0 \
    --ignore=tests/packaging --ignore=tests/tidy "$@" || status=$?
unset LD_PRELOAD
"$python" -m tools.sanitizer_logs "$logs" || status=1
exit "$status"
