//! Where the sockets are: in a folder that only this user can enter, each by its process's number.
//!
//! `$XDG_RUNTIME_DIR/greenloom`, and without that `greenloom-UID` in the folder for temporary files. A folder that
//! somebody else has put there is refused.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The folder for the sockets of this process, made if there is none.
///
/// # Errors
/// `PermissionDenied` where the folder is not this user's alone, or the program runs with rights that its user has not.
pub fn folder() -> io::Result<PathBuf> {
    if is_privileged() {
        let message = "a program with rights that its user has not (setuid, setgid, capabilities) is not looked into";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let own = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let usable = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == own);
    let folder = match runtime.filter(|path| usable(path)) {
        Some(runtime) => runtime.join("greenloom"),
        None => std::env::temp_dir().join(format!("greenloom-{own}")),
    };
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(&folder)?;
    if found.is_dir() && found.uid() == own && found.mode() & 0o077 == 0 {
        return Ok(folder);
    }
    let message =
        format!("{} is not a folder of this user's alone; remove it, or set XDG_RUNTIME_DIR", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

/// Whether the program has rights that whoever started it has not.
fn is_privileged() -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    getuid() != geteuid() || getgid() != getegid() || is_marked_secure()
}

/// Whether the kernel says so, as it does after an exec that has raised capabilities: the entry `AT_SECURE`.
fn is_marked_secure() -> bool {
    const AT_SECURE: usize = 23;
    const WORD: usize = size_of::<usize>();
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, usize::from_ne_bytes);
    match fs::read("/proc/self/auxv") {
        Ok(entries) => entries.chunks_exact(2 * WORD).any(|entry| {
            let (key, value) = entry.split_at(WORD);
            word(key) == AT_SECURE && word(value) != 0
        }),
        // The kernel hides it from the program's own user then.
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Removes the sockets that processes have left which are gone.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_some_and(|pid| !exists(pid)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether there is such a process.
pub fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Where the socket of another process may be, the likeliest place first: that depends on its environment, which its
/// own user may read.
pub fn candidates(pid: u32) -> Vec<PathBuf> {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let of_process = |name: &str| {
        let value = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(name.as_bytes()))?;
        Some(PathBuf::from(String::from_utf8_lossy(value).into_owned()))
    };
    let user = fs::metadata(format!("/proc/{pid}")).map_or(rustix::process::geteuid().as_raw(), |found| found.uid());
    let runtime = [
        of_process("XDG_RUNTIME_DIR="),
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
        Some(PathBuf::from(format!("/run/user/{user}"))),
    ];
    let temporary = [of_process("TMPDIR="), Some(std::env::temp_dir()), Some(PathBuf::from("/tmp"))];
    let in_runtime = runtime.into_iter().flatten().map(|path| path.join("greenloom"));
    let in_temporary = temporary.into_iter().flatten().map(|path| path.join(format!("greenloom-{user}")));
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in in_runtime.chain(in_temporary) {
        let path = folder.join(pid.to_string());
        if folder.is_absolute() && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}
