# For scripts that make a root of Debian: `. debian.sh`.

# Where this machine has its packages from.
mirror() {
    sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1
}

# network_settings ROOT: those of this machine.
network_settings() {
    for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt /etc/pip.conf \
        "$HOME/.config/pip/pip.conf" "$HOME/.cargo/config.toml"; do
        [ ! -e "$file" ] || { mkdir -p "$1$(dirname "$file")"; cp -L "$file" "$1$file"; }
    done
}
