#!/bin/sh
# wheels.sh: dist/ with greenloom's wheels for every CPython that is supported, the wheels of greenlet, eventlet and
# amqp, the sdists, and an index of them (dist/simple). PYTHON=3.13 makes greenloom's wheel for that one only, LIBC=gnu
# for glibc only, DIST names another folder than dist/.
#
# No interpreter is needed but the one that runs maturin: a wheel links to nothing of CPython. zig's C library makes
# them fit for every glibc since 2.17 (2012). MACHINES names the processors; for another one than this machine's its
# target has to be installed: rustup target add aarch64-unknown-linux-gnu.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
dist=$(realpath -m "${DIST:-$root/dist}")
versions=${PYTHON:-"3.10 3.11 3.12 3.13 3.14 3.15"}
targets=$(rustup target list --installed 2>/dev/null || rustc -vV | sed -n 's/^host: //p')

tools="$root/target/wheel-tools"
[ -x "$tools/bin/python" ] || python3 -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check \
    'maturin>=1.10,<2' ziglang build 'setuptools>=77' wheel twine auditwheel
PATH="$tools/bin:$PATH"

rm -rf "$dist"
mkdir -p "$dist"
interpreters=$(for version in $versions; do printf -- '--interpreter python%s ' "$version"; done)
for machine in ${MACHINES:-x86_64 aarch64}; do
    for libc in ${LIBC:-gnu musl}; do
        target="$machine-unknown-linux-$libc"
        case "$libc" in gnu) tag=manylinux_2_17 ;; musl) tag=musllinux_1_2 ;; esac
        if ! echo "$targets" | grep -qx "$target"; then
            echo "no wheels for $target: rustup target add $target"
            continue
        fi
        echo "wheels for $target, CPython $versions"
        (cd "$here/greenloom" && CARGO_TARGET_DIR="$root/target/wheels" maturin build --quiet --release --zig \
            --target "$target" --compatibility "$tag" $interpreters --out "$dist")
    done
done
(cd "$here/greenloom" && maturin sdist --out "$dist" >/dev/null)
for package in greenlet eventlet amqp; do
    (cd "$here/$package" && python -m build --no-isolation --outdir "$dist" >/dev/null)
    rm -rf "$here/$package/build" "$here/$package/$package.egg-info"
done

python -m twine check --strict "$dist"/*.whl "$dist"/*.tar.gz
# auditwheel looks for what a wheel requires among the libraries of this machine, which are not musl's.
required='
import io, sys, zipfile
from elftools.elf.elffile import ELFFile
wheel = zipfile.ZipFile(sys.argv[1])
for name in wheel.namelist():
    if name.endswith(".so"):
        dynamic = ELFFile(io.BytesIO(wheel.read(name))).get_section_by_name(".dynamic")
        print(*(tag.needed for tag in dynamic.iter_tags("DT_NEEDED")))
'
for wheel in "$dist"/greenloom-*.whl; do
    case "$wheel" in
    *musllinux*) found=$(python -c "$required" "$wheel") ;;
    *) found=$(python -m auditwheel show "$wheel" 2>&1 | tr -s ' \n' ' ') ;;
    esac
    case "$(basename "$wheel") $found" in
    *manylinux*' tag: "manylinux_2_17_'* | *manylinux*' tag: "manylinux_2_12_'*) ;;
    *manylinux*' tag: "manylinux_2_5_'*) ;;
    *musllinux*' libc.so') ;;
    *) echo "$wheel requires more than it should: $found" >&2; exit 1 ;;
    esac
done
python "$here/tools/simple_index.py" "$dist"
echo "the index is $dist/simple"
