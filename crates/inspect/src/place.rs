//! Where the sockets are: in a folder that only this user can enter, each by its process's number.
//!
//! `$XDG_RUNTIME_DIR/greenloom`, and without that `greenloom-UID` in the folder for temporary files. A folder that
//! somebody else has put there is refused.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, test_kill_process};

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

/// Removes the sockets that processes have left which are gone. The folder may be shared with processes of another PID
/// namespace, as a container's are, which cannot be seen from here: their sockets are served, and stay.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_some_and(|pid| !exists(pid)) && matches!(server(&entry.path()), Ok(Served::ByNobody)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Who serves a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Nobody, or there is no socket.
    ByNobody,
    /// This process.
    ByUs,
    /// Another process, which may have this one's number in another PID namespace.
    ByAnother,
}

/// Who serves the socket of this path.
///
/// # Errors
/// When it cannot be found out.
pub fn server(path: &Path) -> io::Result<Served> {
    match connect(path) {
        Ok(stream) if is_served_by(&stream, std::process::id())? => Ok(Served::ByUs),
        Ok(_) => Ok(Served::ByAnother),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Ok(Served::ByNobody)
        }
        // It takes no connections at the moment.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Served::ByAnother),
        Err(error) => Err(error),
    }
}

/// Connects to the socket of this path. Does not wait where too many have connected that nobody has taken yet, as those
/// of a process that is stopped: that is an error of the kind `WouldBlock`.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = UnixStream::from(net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?);
    net::connect(&stream, &SocketAddrUnix::new(path)?)?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Whether the other end of a connection was opened by the process that has this number here.
///
/// # Errors
/// When the system does not say.
pub fn is_served_by(stream: &UnixStream, pid: u32) -> io::Result<bool> {
    let peer = net::sockopt::socket_peercred(stream)?;
    Ok(u32::try_from(peer.pid.as_raw_nonzero().get()) == Ok(pid))
}

/// Whether there is such a process. The system is asked, since `/proc` may be missing, or hide those of others.
pub fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(Errno::SRCH)))
}

/// Whether a process has ended, and its parent has not asked how.
pub fn is_zombie(pid: u32) -> bool {
    state(pid).starts_with('Z')
}

/// What a process is like that is stopped, by a signal or a debugger. One that does not change is one that stands
/// still: a debugger stops what it looks at for moments, too.
pub(crate) fn stopped(pid: u32) -> Option<String> {
    Some(state(pid)).filter(|state| state.starts_with(['T', 't']))
}

/// What the system says of a process: its state, and then numbers, of which some say how long it has run.
fn state(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, which may have anything in it, is in brackets.
    stat.rsplit_once(") ").map(|(_, state)| state.to_owned()).unwrap_or_default()
}

const ROOT: u32 = 0;

/// Where the socket of another process may be, the likeliest place first: that depends on its environment, which its
/// own user may read.
pub fn candidates(pid: u32) -> Vec<PathBuf> {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let of_process = |name: &str| {
        let value = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(name.as_bytes()))?;
        Some(PathBuf::from(String::from_utf8_lossy(value).into_owned()))
    };
    let own = rustix::process::geteuid().as_raw();
    // It may have opened its socket as another user than it is now, as one that gives up its rights does.
    let users = [fs::metadata(format!("/proc/{pid}")).map_or(own, |found| found.uid()), own, ROOT];
    let runtime = [of_process("XDG_RUNTIME_DIR="), std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)];
    let of_users = users.map(|user| PathBuf::from(format!("/run/user/{user}")));
    let temporary = [of_process("TMPDIR="), Some(std::env::temp_dir()), Some(PathBuf::from("/tmp"))];
    let in_runtime = runtime.into_iter().flatten().chain(of_users).map(|path| path.join("greenloom"));
    let of_user = |path: PathBuf| users.map(|user| path.join(format!("greenloom-{user}")));
    let in_temporary = temporary.into_iter().flatten().flat_map(of_user);
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in in_runtime.chain(in_temporary) {
        let path = folder.join(pid.to_string());
        if folder.is_absolute() && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}
