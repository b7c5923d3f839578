#!/bin/sh
# What a user of crates.io would get: the packages of all crates that are published, unpacked beside each other and
# built from nothing else. Their documentation's examples and their guides run, the rest of their targets is checked.
set -eu
cd "$(dirname "$0")/.."
crates="greenloom-fiber greenloom-hub greenloom-inspect greenloom-trace greenloom-http greenloom greenloom-amqp"
crates="$crates greenloom-rpc greenloom-web greenloom-hooks greenloom-cli"
target=$PWD/target/package-check
rm -rf "$target/crates"
mkdir -p "$target/crates"

# shellcheck disable=SC2046
cargo package --quiet --allow-dirty --no-verify --target-dir "$target" $(printf -- '-p %s ' $crates)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
{
    printf '[workspace]\nresolver = "3"\nmembers = ['
    printf '"%s", ' $crates
    printf ']\n\n[patch.crates-io]\n'
    for crate in $crates; do printf '%s = { path = "%s" }\n' "$crate" "$crate"; done
} >"$target/crates/Cargo.toml"
cp Cargo.lock "$target/crates/Cargo.lock"
for crate in $crates; do
    # A package's files all have one date, by which cargo would take changed ones for those it has built.
    tar -xzmf "$target/package/$crate-$version.crate" -C "$target/crates"
    mv "$target/crates/$crate-$version" "$target/crates/$crate"
    for file in README.md LICENSE-MIT LICENSE-APACHE; do
        [ -s "$target/crates/$crate/$file" ] || { echo "the package of $crate has no $file" >&2; exit 1; }
    done
done

cd "$target/crates"
export CARGO_TARGET_DIR="$target/build"
cargo check --quiet --workspace --all-targets --all-features
cargo test --quiet --workspace --doc --all-features

# Where it cannot work, the build says why.
if told=$(RUSTFLAGS='-C panic=abort' CARGO_TARGET_DIR="$target/refused" cargo check -p greenloom-fiber 2>&1); then
    echo 'a build with panic = "abort" is not refused' >&2
    exit 1
fi
case $told in *'greenloom needs panic = "unwind"'*) ;; *) echo "$told" >&2; exit 1 ;; esac
