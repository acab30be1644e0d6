#!/bin/sh
# Everything that can be said about the code without running it; `lint.sh types` says the half.
# Goes through to the end, and fails if anything failed.
set -u
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
status=0

check() {
    echo "-- $1"
    shift
    "$@" || status=1
}

compiled() {
    find fastlb/_core -name '*.pyi' | sed 's|\.pyi$||; s|/|.|g' | sort
}

# A full build in a place of its own, that must have nothing to say: no hint of Cython's about
# performance, no warning of its own or of the C compiler's.
build_silently() {
    tools/copy.sh lint
    (
        cd build/lint && mkdir -p build || exit 1
        export FASTLB_BUILD=release FASTLB_ANNOTATE=1 FASTLB_PROBES=0
        if ! "$python" setup.py -q build_ext --inplace >build/said 2>&1 || [ -s build/said ]; then
            cat build/said
            rm -f build/dev-*/temp/stamp.json # to be said again the next time
            exit 1
        fi
    )
}

# Of pyright, what goes wrong; that a newer one exists is no matter of ours.
pyright() {
    PYRIGHT_PYTHON_IGNORE_WARNINGS=1 "$python" -m pyright --warnings \
        --pythonpath "$python" examples >build/pyright || { cat build/pyright; return 1; }
}

check "mypy" "$python" -m mypy
check "mypy, examples" "$python" -m mypy examples
check "pyright, examples" pyright
FASTLB_PROBES=1 "$python" setup.py -q build_ext --inplace || status=1
check "stubtest" "$python" -m mypy.stubtest --concise --ignore-disjoint-bases \
    --allowlist tools/stubtest.txt --ignore-unused-allowlist $(compiled)
if [ "${1:-}" != types ]; then
    check "ruff" "$python" -m ruff check --quiet .
    check "tidy" "$python" -m pytest --no-build -q tests/tidy
    check "Cython and C warnings" build_silently
    check "annotation" "$python" -m tools.annotation build/lint/build/dev-*/temp/c
fi
exit "$status"
