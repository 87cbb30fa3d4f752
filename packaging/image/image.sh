#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# image.sh PACKAGE.deb PROGRAM COMMAND ARCHIVE: an OCI archive of one program, from scratch: what its package holds, the libraries that
# it needs, and what those read (CA certificates, OpenSSL's settings, users). No shell, no registry. Debian's umoci and skopeo make it.
set -eu
package=$1 program=$2 command=$3 archive=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
version=$(dpkg-deb -f "$package" Version)
name=$(dpkg-deb -f "$package" Package)
created=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%Y-%m-%dT%H:%M:%SZ)

umask 022
mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/share/doc" "$root/etc/ssl/certs" "$root/etc/certsync" \
    "$root/usr/lib/ssl" "$root/var/lib/certsync" "$root/tmp" "$root/proc" "$root/sys" "$root/dev"
for link in bin lib lib64; do ln -s "usr/$link" "$root/$link"; done
dpkg-deb -x "$package" "$work/package"
cp "$work/package/usr/bin/$program" "$root/usr/bin/"
cp -R "$work/package/usr/share/doc/$name" "$root/usr/share/doc/"

# ldd's lines are "name => path (address)", and "path (address)" of the loader.
ldd "$root/usr/bin/$program" | sed -n 's/^.*[[:space:]]\(\/[^ ]*\) (0x.*$/\1/p' | sort -u >"$work/libraries"
while read -r library; do
    mkdir -p "$root${library%/*}"
    cp -L "$library" "$root$library"
    owner=$(dpkg-query -S "$(readlink -f "$library")" "$library" 2>/dev/null | sed -n '1s/:.*//p')
    [ -z "$owner" ] || [ ! -f "/usr/share/doc/$owner/copyright" ] || {
        mkdir -p "$root/usr/share/doc/$owner"
        cp -L "/usr/share/doc/$owner/copyright" "$root/usr/share/doc/$owner/"
    }
done <"$work/libraries"

# Debian's CA certificates: one file for most, and by their hashes for who asks for a directory.
cp -L /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/*.0 "$root/etc/ssl/certs/"
cp -L /etc/ssl/openssl.cnf "$root/etc/ssl/openssl.cnf"
ln -s /etc/ssl/certs /etc/ssl/openssl.cnf "$root/usr/lib/ssl/"
printf 'root:x:0:0:root:/:/usr/sbin/nologin\ncertsync:x:10001:10001:certsync:/var/lib/certsync:/usr/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\ncertsync:x:10001:\n' >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
cp /etc/os-release "$root/etc/os-release"
# Whoever runs it is in the group root, on OpenShift under any number.
chmod 0770 "$root/var/lib/certsync"
chmod 1777 "$root/tmp"
[ "$(id -u)" != 0 ] || chown 10001:0 "$root/var/lib/certsync"
find "$root" -exec touch -h -d "$created" {} +

layout=$work/layout
as=
[ "$(id -u)" = 0 ] || as=--rootless
umoci init --layout "$layout"
umoci new --image "$layout:$version"
# $as is one word or none.
# shellcheck disable=SC2086
umoci insert $as --image "$layout:$version" --history.created "$created" --history.created_by "./dev image" "$root" /
umoci config --image "$layout:$version" --created "$created" --history.created "$created" --config.user 10001:10001 \
    --config.entrypoint "/usr/bin/$program" --config.cmd "$command" --config.workingdir /var/lib/certsync \
    --config.label "org.opencontainers.image.title=$name" --config.label "org.opencontainers.image.version=$version" \
    --config.label "org.opencontainers.image.licenses=Apache-2.0"
mkdir -p "${archive%/*}"
rm -f "$archive"
skopeo copy --quiet "oci:$layout:$version" "oci-archive:$archive:$name:$version"
