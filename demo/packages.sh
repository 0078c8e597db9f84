#!/bin/sh
# packages.sh PACKAGE...: installs those of the Debian packages that the machine lacks. As root; to an
# ordinary user it says what to run. It starts no service and makes no database cluster.
set -eu

present() {
    case $1 in
    postgresql) command -v postgres || ls /usr/lib/postgresql/*/bin/postgres ;;
    libnss-wrapper) ls /usr/lib/*/libnss_wrapper.so ;;
    python3-venv) python3 -c 'import ensurepip, venv' ;;
    *) PATH=$PATH:/usr/sbin command -v "$1" ;;
    esac >/dev/null 2>&1
}

missing=
for package in "$@"; do
    present "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "This machine lacks:$missing. Install them by its own package manager, then try again." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "This machine lacks Debian packages. To install them, without starting their services:" >&2
    echo "    sudo $0$missing" >&2
    exit 1
fi

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
trap 'exit 130' INT TERM

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
