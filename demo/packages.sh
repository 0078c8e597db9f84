#!/bin/sh
# packages.sh NAME...: looks for what the machine needs, and installs the Debian packages that it lacks. As root; to an
# ordinary user it says what to run. It starts no service and makes no database cluster.
#
# Some names are more than a package: python3 is at least 3.11 (PYTHON: which), npm has a Node.js of at least 18, rust is
# the version that Cargo.toml asks for, which Debian does not have, and linux is the system.
set -eu
python=${PYTHON:-python3}
least_python=3.11
# That of Debian 12. It only installs: the Makefile brings the Node.js that osls runs on, which needs 20.19.
least_node=18
least_rust=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$(dirname "$0")/../Cargo.toml")

present() {
    case $1 in
    gcc) command -v cc ;;
    libc6-dev) echo '#include <stdio.h>' | cc -E - ;;
    libnss-wrapper) ls /usr/lib/*/libnss_wrapper.so ;;
    postgresql) command -v postgres || ls /usr/lib/postgresql/*/bin/postgres ;;
    procps) command -v ps && env kill -0 $$ ;;
    python3) [ -n "${PYTHON:-}" ] || command -v python3 ;;
    python3-venv) "$python" -c 'import ensurepip, venv' ;;
    *) PATH=$PATH:/usr/sbin command -v "$1" ;;
    esac >/dev/null 2>&1
}

# Whether version $1 is at least $2.
at_least() {
    awk -v has="$1" -v least="$2" 'BEGIN {
        split(has, h, "."); split(least, l, ".")
        for (i = 1; i <= 3; i++) if (h[i] + 0 != l[i] + 0) exit h[i] + 0 < l[i] + 0
    }'
}

check_python() {
    present python3 || return 0
    version=$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null) || version=
    [ -n "$version" ] && at_least "$version" $least_python && return
    echo "Python $least_python or newer is required: $python is ${version:-missing}. To use another: make ... PYTHON=python3.12" >&2
    unmet=yes
}

check_rust() {
    version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
    [ -n "$version" ] && at_least "$version" "$least_rust" && return
    echo "Rust $least_rust or newer is required: cargo is ${version:-missing}. Install it: https://rustup.rs" >&2
    unmet=yes
}

check_node() {
    present npm || return 0
    version=$(node --version 2>/dev/null) || version=
    [ -n "$version" ] && at_least "${version#v}" $least_node && return
    echo "Node.js $least_node or newer is required: node is ${version:-missing}. Install it: https://nodejs.org" >&2
    unmet=yes
}

check_linux() {
    [ "$(uname -s)" = Linux ] && return
    echo "This target needs Linux, such as Debian or Ubuntu. On macOS, cargo install, make package and make deploy work." >&2
    exit 1
}

missing=
unmet=
for name in "$@"; do
    case $name in
    rust) check_rust ;;
    linux) check_linux ;;
    *) present "$name" || missing="$missing $name" ;;
    esac
    case $name in
    python3) check_python ;;
    npm) check_node ;;
    esac
done
[ -n "$missing$unmet" ] || exit 0

if [ -n "$missing" ] && [ "$(uname -s)" = Darwin ]; then
    # Homebrew's names. The compiler is Apple's.
    formulas=
    for name in $missing; do
        case $name in
        gcc | libc6-dev) compiler=missing ;;
        python3*) formulas="${formulas% python} python" ;;
        npm) formulas="$formulas node" ;;
        *) formulas="$formulas $name" ;;
        esac
    done
    [ -z "${compiler:-}" ] || echo "This machine lacks a C compiler. Install it: xcode-select --install" >&2
    [ -z "$formulas" ] || echo "This machine lacks packages. Install them: brew install$formulas" >&2
    exit 1
fi
if [ -n "$missing" ] && ! command -v apt-get >/dev/null; then
    echo "This machine lacks:$missing. Install them by its own package manager, then try again." >&2
    exit 1
fi
if [ -n "$missing" ] && { [ -n "$unmet" ] || [ "$(id -u)" -ne 0 ]; }; then
    echo "This machine lacks Debian packages. To install them, without starting their services:" >&2
    echo "    sudo $0$missing" >&2
    exit 1
fi
[ -z "$unmet" ] || exit 1

# Two targets that install at once wait for each other here.
exec 9<"$0"
flock 9
settings=/etc/postgresql-common/createcluster.conf
policy=/usr/sbin/policy-rc.d
[ -e $policy ] && policy=
restore() {
    [ -z "$policy" ] || rm -f "$policy"
    [ ! -e $settings.before ] || mv $settings.before $settings
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Debian's way of saying that services are not to be started.
[ -z "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"; }
install() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y "$@" </dev/null >/dev/null
}
echo "Installing Debian packages:$missing" >&2
install update
case $missing in
*postgresql*)
    install install --no-install-recommends postgresql-common
    cp -p $settings $settings.before
    echo 'create_main_cluster = false' >>$settings
    ;;
esac
# shellcheck disable=SC2086 # one word a package
install install --no-install-recommends $missing
# A Debian before 12 brings some that are too old.
check_python
check_node
[ -z "$unmet" ]
