#!/bin/sh
# Makes .venv and installs into it what `make TARGET` needs: setup.sh [run|test|dev].
# Does nothing where nothing is missing, and never makes a .venv again that works.
set -eu
cd "$(dirname "$0")/.."
level=${1:-run}
case $level in
    run) extras='' wanted='run test dev' ;;
    test) extras='[test]' wanted='test dev' ;;
    dev) extras='[dev]' wanted='dev' ;;
    *) echo "setup.sh: $level is not one of run, test, dev" >&2; exit 2 ;;
esac
venv=.venv
log=build/setup.log
python=${PYTHON:-python3}
mkdir -p build
# `make lint` reads Cython's annotation: if it comes with the C, one translation serves both.
[ "$level" != dev ] || export FASTLB_ANNOTATE=1

say() { echo "fastlb: $*" >&2; }

quietly() {
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 60 "$log" >&2
        say "this failed: $*"
        exit 1
    fi
}

works() { [ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import pip' 2>/dev/null; }

# The system packages that are missing, as Debian calls them.
missing() {
    works && with=$venv/bin/python || with=$python
    if ! "$with" -c '' 2>/dev/null; then
        echo python3 python3-venv python3-dev
    else
        works || "$with" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
        headers=$("$with" -c 'import sysconfig; print(sysconfig.get_path("include"))')
        [ -e "$headers/Python.h" ] || echo python3-dev
    fi
    command -v "${CC:-gcc}" >/dev/null || echo gcc
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    # What a build and its tests go on without: only where it can be installed.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        command -v pkg-config >/dev/null || echo pkg-config
        [ -e /usr/include/openssl/ssl.h ] || echo libssl-dev
        [ -e /usr/include/nghttp2/nghttp2.h ] || echo libnghttp2-dev
        [ -e /usr/include/zstd.h ] || echo libzstd-dev
        [ -e /usr/include/brotli/encode.h ] || echo libbrotli-dev
        [ -e /usr/include/zlib.h ] || echo zlib1g-dev
        if [ "$level" != run ]; then
            command -v ccache >/dev/null || echo ccache
            command -v chromium >/dev/null || echo chromium
            command -v curl >/dev/null || echo curl
            command -v ffmpeg >/dev/null || echo ffmpeg
            command -v git >/dev/null || echo git
            command -v h2load >/dev/null || echo nghttp2-client
            command -v openssl >/dev/null || echo openssl
            command -v sipp >/dev/null || echo sip-tester
            command -v systemd-analyze >/dev/null || echo systemd
            [ -x /usr/sbin/mosquitto ] || echo mosquitto
            [ -e /usr/lib/nginx/modules/ngx_rtmp_module.so ] || echo libnginx-mod-rtmp
        fi
    fi
}

# Tests start nginx and mosquitto by themselves: they aren't to become services of this machine.
without_services() {
    policy=/usr/sbin/policy-rc.d
    if [ -e $policy ]; then
        "$@"
        return
    fi
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    "$@"
    rm -f $policy
    trap - EXIT
}

packages=$(echo $(missing))
if [ -n "$packages" ]; then
    say "these system packages are missing: $packages"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing them with apt-get"
        quietly apt-get update -q
        without_services quietly env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends $packages
    else
        say "install them with: sudo apt-get install -y $packages"
        exit 1
    fi
fi

if ! works; then
    "$python" -c 'import sys; raise SystemExit(sys.version_info < (3, 10))' || {
        say "Python 3.10 or newer is needed, and $python is $("$python" -V); set PYTHON to another"
        exit 1
    }
    say "making $venv with $("$python" -V)"
    quietly "$python" -m venv --clear "$venv"
fi

# One stamp for each level: what was installed for `dev` serves `test` and `run` too.
state=$(cksum pyproject.toml tools/setup.sh; "$venv/bin/python" -V; pwd)
for name in $wanted; do
    if [ "$(cat "$venv/fastlb-$name" 2>/dev/null)" = "$state" ]; then
        FASTLB_PROBES=$([ "$level" = run ] && echo 0 || echo 1)
        export FASTLB_PROBES
        ls build/dev-*/temp/stamp.json >/dev/null 2>&1 || say "building the engine"
        quietly "$venv/bin/python" setup.py -q build_ext --inplace
        exit 0
    fi
done

pip="$venv/bin/python -m pip --disable-pip-version-check --no-input install -q"
say "installing what 'make' needs into $venv (a minute or two, the first time)"
quietly $pip 'setuptools>=77' 'Cython>=3.1,<4'
say "building the engine and installing fastlb with its dependencies"
quietly $pip --no-build-isolation -e ".$extras"
# A test runs it as a program. It wants other versions than ours of what we need too.
if [ "$level" != run ] && [ ! -x build/sslyze/bin/sslyze ]; then
    { "$python" -m venv --clear build/sslyze \
        && build/sslyze/bin/pip --disable-pip-version-check install -q \
            'sslyze>=6.2' 'cryptography<47'
    } >"$log" 2>&1 </dev/null || say "sslyze can't be installed here, and its test is skipped"
fi
echo "$state" >"$venv/fastlb-$level"
