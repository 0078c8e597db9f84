#!/bin/sh
# packages.sh NAME...: looks for what the machine needs, and installs the Debian packages that it lacks. As root; to an
# ordinary user it says what to run. It starts no service and makes no database cluster.
#
# Two names are more than a package: python3 is one of at least 3.11 (PYTHON: which), and rust is what Cargo.toml asks
# for, which Debian does not have.
set -eu
python=${PYTHON:-python3}
least_python=3.11
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
    [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
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

missing=
unmet=
for name in "$@"; do
    case $name in
    rust) check_rust ;;
    *) present "$name" || missing="$missing $name" ;;
    esac
    [ "$name" != python3 ] || check_python
done
[ -n "$missing$unmet" ] || exit 0

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
# A Debian before 12 brings one that is too old.
check_python
[ -z "$unmet" ]
