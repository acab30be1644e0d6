#!/bin/sh
# The test suite on a build with AddressSanitizer and UndefinedBehaviorSanitizer, in build/asan.
# Arguments go to pytest; `sanitize.sh fuzz` runs tests/fuzz instead.
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
# The interpreter isn't instrumented: the library has to be there before it starts.
LD_PRELOAD=$($gcc -print-file-name=libasan.so)
export LD_PRELOAD PYTHONMALLOC=malloc PYTHONPATH=$PWD
# Every process writes a log; an error aborts it, while leaks leave its exit status alone (most are
# Python's own, and told apart afterwards). libubsan only writes to stderr: its aborting is logged.
ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:exitcode=0
ASAN_OPTIONS=$ASAN_OPTIONS:abort_on_error=1:handle_abort=2:log_path=$logs/asan
UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1:log_path=$logs/asan
export ASAN_OPTIONS UBSAN_OPTIONS
status=0
if [ "${1:-}" = fuzz ]; then
    "$python" -m tests.fuzz || status=$?
else
    "$python" -m pytest --no-build -o timeout=900 -o faulthandler_timeout=0 \
        --ignore=tests/packaging --ignore=tests/tidy --ignore=tests/unit --ignore=tests/examples \
        "$@" || status=$?
fi
unset LD_PRELOAD
"$python" -m tools.sanitizer_logs "$logs" || status=1
exit "$status"
