#!/usr/bin/env bash
# The Debian package as its users meet it: installed, upgraded, removed and purged. In a copy of this system made of an
# overlay, in a mount namespace of its own: nothing of it outlives the test. After `bash systemd/debian/build`.
# Needs root that may mount, and Debian; says so and passes elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skipped() {
    echo "SKIPPED: $1"
    exit 0
}

command -v dpkg-deb >/dev/null || skipped "dpkg is not here"
[[ $(id -u) == 0 ]] || skipped "installing a package needs root"
if [[ ${1:-} != inside ]]; then
    unshare --mount --propagation private true 2>/dev/null || skipped "no mount namespace can be made here"
    exec unshare --mount --propagation private bash "$PWD/tests/package.sh" inside
fi

packages=(target/debian/vexora-relay_*.deb)
[[ ${#packages[@]} == 1 && -f ${packages[0]} ]] || { echo "not exactly one package in target/debian"; exit 1; }

if command -v lintian >/dev/null; then
    echo "lintian:"
    lintian --allow-root --fail-on error,warning --suppress-tags-from-file systemd/debian/lintian-not-ours "${packages[0]}"
else
    echo "SKIPPED: lintian is not here (Debian: lintian)"
fi

scratch=$PWD/target/package-test
mkdir -p "$scratch"
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root" 2>/dev/null ||
    skipped "no overlay can be mounted here"
root=$scratch/root
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"

# The next version: the same, but for its number.
cp "${packages[0]}" "$root/tmp/first.deb"
dpkg-deb -R "${packages[0]}" "$root/tmp/next"
sed -i 's/^Version: .*/&+next/' "$root/tmp/next/DEBIAN/control"
dpkg-deb --root-owner-group -b "$root/tmp/next" "$root/tmp/next.deb" >/dev/null

inside() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}
failed() {
    echo "FAILED: $1"
    exit 1
}
there() { for path in "$@"; do [[ -e $root$path || -L $root$path ]] || failed "$path is not there"; done; }
gone() { for path in "$@"; do [[ ! -e $root$path && ! -L $root$path ]] || failed "$path is still there"; done; }

config=/etc/vexora-relay/config.toml
wants=/etc/systemd/system/multi-user.target.wants/vexora-relay.service
secrets=/etc/vexora-relay/credentials
# Where systemd puts the state of a dynamic user.
state=/var/lib/private/vexora-relay

echo "install:"
inside dpkg -i /tmp/first.deb
there /usr/bin/vexora-relay "$config" "$secrets" /usr/share/man/man1/vexora-relay-serve.1.gz \
    /usr/share/bash-completion/completions/vexora-relay /usr/share/doc/vexora-relay/copyright \
    /usr/lib/systemd/system/vexora-relay.{service,socket}
gone "$wants"
[[ $(stat -c %a "$root$secrets") == 700 ]] || failed "others may look at the secrets"
inside vexora-relay --version
# What the README has people write there.
echo s3cr3t >"$root$secrets/app-secret"
echo 0123456789abcdef01234567 >"$root$secrets/callback-token"
inside vexora-relay secret >"$root$secrets/ledger-secret"
inside env CREDENTIALS_DIRECTORY="$secrets" vexora-relay check
inside systemctl enable vexora-relay.service vexora-relay.socket
there "$wants"
inside man -w vexora-relay-serve >/dev/null 2>&1 || echo "(no man here to find the pages with)"

echo "the commands of docs/production.md:"
# A production host's name for the package, and no service manager: where the page starts the service, it is started so.
cp "$root/tmp/first.deb" "$root"/root"/$(basename "${packages[0]}")"
rm -r "${root:?}$secrets"/*
echo s3cr3t >"$root$secrets/app-secret"
# Nothing leaves this machine.
sed -i 's#https://sandbox-api.vexora.com/japan#http://127.0.0.1:9/japan#; s#https://ledger.example.com/#http://127.0.0.1:9/#' "$root$config"
serve() {
    mkdir -p "$root/run/credentials/vexora-relay.service"
    cp "$root$secrets"/* "$root/run/credentials/vexora-relay.service"
    chroot "$root" env -i PATH=/usr/bin:/bin vexora-relay serve --config "$config" 2>"$scratch/serving.log" </dev/null &
    relay=$!
    until grep -q '" *vexora-relay .* ready' "$scratch/serving.log"; do
        kill -0 "$relay" 2>/dev/null || { cat "$scratch/serving.log"; failed "it does not serve"; }
    done
}
relay='' ran=0
while IFS=$'\t' read -r how file; do
    case $how in
    runs) ;;
    "runs beside the service") [[ -n $relay ]] || serve ;;
    "does not run on a build machine: "?*) continue ;;
    *) failed "a block of commands of docs/production.md does not say whether it runs: $how" ;;
    esac
    sed 's/^/    /' "$file"
    cp "$file" "$root/tmp/block"
    inside bash -euo pipefail -c 'cd /root; . /tmp/block' || failed "these commands"
    ran=$((ran + 1))
done < <(awk -v at="$scratch/block" '
    /^<!-- .* -->$/ { how = substr($0, 6, length($0) - 9); next }
    /^```sh$/ { n++; file = at n; printf "" > file; inside = 1; next }
    inside && /^```$/ { inside = 0; close(file); print (how == "" ? "nothing" : how) "\t" file; how = ""; next }
    inside { print > file; next }
    NF { how = "" }
' docs/production.md)
[[ -n $relay && $ran -ge 7 ]] || failed "only $ran blocks of commands of docs/production.md ran"
kill -TERM "$relay"
wait "$relay" || failed "it did not stop well"
there /var/backups/vexora-relay-"$(date +%F)"
rm -r "${root:?}/run/credentials" "${root:?}/var/lib/vexora-relay"

echo "upgrade:"
echo "# ours" >>"$root$config"
mkdir -p -m 0700 "$root$state"
ln -s private/vexora-relay "$root/var/lib/vexora-relay"
echo precious >"$root$state/journal"
inside dpkg -i /tmp/next.deb
inside dpkg -s vexora-relay | grep -q '+next$' || failed "it was not upgraded"
there "$wants" "$state/journal" "$secrets/app-secret"
grep -q '^# ours$' "$root$config" || failed "the configuration was replaced"

echo "remove:"
inside dpkg -r vexora-relay
gone /usr/bin/vexora-relay /usr/lib/systemd/system/vexora-relay.service
there "$config" "$state/journal" "$secrets/app-secret"
grep -q '^# ours$' "$root$config" || failed "the configuration was replaced"

echo "install again:"
inside dpkg -i /tmp/next.deb
there "$wants" "$state/journal"
grep -q '^# ours$' "$root$config" || failed "the configuration was replaced"

echo "purge:"
inside dpkg -P vexora-relay 2>&1 | tee "$root/tmp/said"
grep -q "purging removes $state" "$root/tmp/said" || failed "it did not say that the data goes"
grep -q "secrets in $secrets are left" "$root/tmp/said" || failed "it did not say that the secrets stay"
gone "$state" /var/lib/vexora-relay "$config" "$wants" /etc/systemd/system/vexora-relay.service
there "$secrets/app-secret"

echo "purge without anything of ours:"
rm -r "${root:?}$secrets"
inside dpkg -i /tmp/first.deb
inside dpkg -P vexora-relay
gone /etc/vexora-relay "$state"

echo "installed, upgraded, removed and purged as it should be"
