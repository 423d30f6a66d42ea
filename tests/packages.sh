# Sourced by quickstart, check and .ci/run: what each needs from Debian, and
# how it is installed; the benchmarks of docs/BENCH.md need BENCH_PACKAGES.
# shellcheck shell=sh disable=SC2034,SC2154

PATH=$PATH:/usr/sbin:/sbin

BUILD_PACKAGES="gcc g++ libc6-dev make autoconf automake libfcgi-dev
libseccomp-dev libcap-dev libiniparser-dev libmd-dev musl-dev
libsimdjson-dev libsodium-dev zlib1g-dev libzstd-dev
pkg-config python3 libpython3-dev"
SERVE_PACKAGES="nginx-light curl python3 perl php-cgi libplack-perl libfcgi-perl
ruby ruby-rack"
TEST_PACKAGES="libcmocka-dev python3-pytest python3-fastjsonschema apache2 caddy haproxy lighttpd
lighttpd-mod-openssl openssl git jq libfcgi-bin logrotate libfcgi-perl libplack-perl ruby ruby-rack mandoc
procps strace xz-utils zstd chromium imagemagick nftables iproute2"
# What docs/PROGRAMS.md says works in a function.
REAL_PACKAGES="ca-certificates openssl tzdata python3-lmdb nodejs node-express php-gd php-mbstring php-sqlite3
libdbd-sqlite3-perl ruby lua5.4 musl-tools golang-1.19-go git curl sqlite3
imagemagick fonts-dejavu-core"
# A virtual machine, `make check-vm`; the first is there for amd64 only.
VM_PACKAGES="user-mode-linux mmdebstrap e2fsprogs"
[ "$(dpkg --print-architecture)" = amd64 ] || VM_PACKAGES=
FUZZ_PACKAGES="clang libclang-rt-14-dev"
# For `make bench` and `make profile`; ./check does without them.
BENCH_PACKAGES="nginx-light wrk spawn-fcgi multiwatch fcgiwrap php-fpm php-cgi
haproxy linux-perf strace jq time nodejs uwsgi-core
uwsgi-plugin-python3"

say() {
	printf '== %s\n' "$*"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

is_root() {
	[ "$(id -u)" = 0 ]
}

need_root() {
	is_root || die "run it as root: sudo $0 $*"
}

# Prints those of the packages given that are not installed.
missing_packages() {
	for package in "$@"; do
		# Another flavour of nginx serves as well.
		if [ "$package" = nginx-light ] && command -v nginx >/dev/null; then
			continue
		fi
		dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null |
		    grep -qx installed || printf '%s ' "$package"
	done
}

# Installs what is missing.  Web servers that come with it are not started:
# they would take port 80 for no use of ours.
need_packages() {
	# shellcheck disable=SC2046,SC2086
	set -- $(missing_packages "$@")
	[ $# -gt 0 ] || return 0
	is_root || die "these Debian packages are missing; as root:
  apt-get install --no-install-recommends $*"
	command -v apt-get >/dev/null ||
	    die "these Debian packages are missing, and there is no apt-get: $*"
	say "installing $# Debian packages: $*"
	is_policy_ours=no
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
		chmod 755 /usr/sbin/policy-rc.d
		is_policy_ours=yes
	fi
	status=0
	# A fresh machine has no package lists at all; old ones may name packages
	# that are no longer there.
	apt-get install -s -q "$@" >/dev/null 2>&1 || update_lists
	apt_install "$@" || { update_lists && apt_install "$@"; } || status=$?
	[ $is_policy_ours = no ] || rm -f /usr/sbin/policy-rc.d
	[ $status = 0 ] || die "apt-get could not install: $*"
}

update_lists() {
	say "fetching the lists of Debian packages"
	apt-get update -q | grep -vE '^(Get|Hit|Reading)' || :
}

apt_install() {
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
	    --no-install-recommends "$@" | grep -E '^(Get|Setting up|E:|W:)' || :
	[ -z "$(missing_packages "$@")" ]
}

# configure_in DIRECTORY OPTION…: makes ./configure, and runs it there.
configure_in() {
	build=$1
	shift
	say "making ./configure"
	(cd "$top" && ./autogen.sh)
	mkdir -p "$build"
	say "configuring in $build"
	(cd "$build" && "$top/configure" -q "$@")
}
