//! Tells the compiler which CPython this is built for (`cfg(Py_3_12)` and the like), and refuses those it cannot serve.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let version = pyo3_build_config::get().version();
    if !(10..=15).contains(&version.minor) {
        println!("cargo:warning=greenloom knows the thread state of CPython 3.10 to 3.15, and this is {version}");
    }
}
