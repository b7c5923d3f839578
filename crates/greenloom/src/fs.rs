//! Files, on the [blocking pool](blocking): the hub goes on while the disk works.
//!
//! A file is always ready, so a hub cannot wait for one; an OS thread of the pool does. Where the disk is sure to be
//! fast, std's own functions cost less: a call here is a round trip to another OS thread, tens of microseconds.
//!
//! Names and semantics are those of [`std::fs`], whose documentation says what each does. A green thread that is killed
//! or timed out meanwhile unwinds at once; what was begun is done all the same. The error of a call that is not
//! possible here, or has no OS thread, is that of [`blocking::run`].
//!
//! ```
//! use greenloom::fs;
//!
//! let path = std::env::temp_dir().join(format!("greenloom-{}", std::process::id()));
//! fs::write(&path, "kept")?;
//! assert_eq!(fs::read_to_string(&path)?, "kept");
//! fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::{self, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blocking;

fn run<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    blocking::run(job)?
}

fn own(path: impl AsRef<Path>) -> PathBuf {
    path.as_ref().to_owned()
}

/// Reads a whole file.
///
/// # Errors
/// Those of [`std::fs::read`].
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = own(path);
    run(move || fs::read(path))
}

/// Reads a whole file of UTF-8.
///
/// # Errors
/// Those of [`std::fs::read_to_string`].
///
/// ```
/// let text = greenloom::fs::read_to_string("/proc/self/status")?;
/// assert!(text.starts_with("Name:"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let path = own(path);
    run(move || fs::read_to_string(path))
}

/// What the system knows of a file, the one that a symbolic link leads to.
///
/// # Errors
/// Those of [`std::fs::metadata`].
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = own(path);
    run(move || fs::metadata(path))
}

/// As [`metadata`], of a symbolic link itself.
///
/// # Errors
/// Those of [`std::fs::symlink_metadata`].
pub fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = own(path);
    run(move || fs::symlink_metadata(path))
}

/// The absolute path of a file, without symbolic links.
///
/// # Errors
/// Those of [`std::fs::canonicalize`].
pub fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = own(path);
    run(move || fs::canonicalize(path))
}

/// Makes a directory.
///
/// # Errors
/// Those of [`std::fs::create_dir`].
pub fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = own(path);
    run(move || fs::create_dir(path))
}

/// Makes a directory and those above it that are not there.
///
/// # Errors
/// Those of [`std::fs::create_dir_all`].
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = own(path);
    run(move || fs::create_dir_all(path))
}

/// Removes a file.
///
/// # Errors
/// Those of [`std::fs::remove_file`].
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = own(path);
    run(move || fs::remove_file(path))
}

/// Removes an empty directory.
///
/// # Errors
/// Those of [`std::fs::remove_dir`].
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = own(path);
    run(move || fs::remove_dir(path))
}

/// Removes a directory with all that is in it.
///
/// # Errors
/// Those of [`std::fs::remove_dir_all`].
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = own(path);
    run(move || fs::remove_dir_all(path))
}

/// Writes a whole file, in place of what was there.
///
/// # Errors
/// Those of [`std::fs::write`].
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let (path, contents) = (own(path), contents.as_ref().to_owned());
    run(move || fs::write(path, contents))
}

/// Copies a file; returns how many bytes it has.
///
/// # Errors
/// Those of [`std::fs::copy`].
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (own(from), own(to));
    run(move || fs::copy(from, to))
}

/// Gives a file another name, in place of what has that name.
///
/// # Errors
/// Those of [`std::fs::rename`].
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (own(from), own(to));
    run(move || fs::rename(from, to))
}

/// All that is in a directory, read at once.
///
/// # Errors
/// Those of [`std::fs::read_dir`] and of its iterator.
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<Vec<fs::DirEntry>> {
    let path = own(path);
    run(move || fs::read_dir(path)?.collect())
}

/// An open file. Mirrors [`std::fs::File`]; each call is one on the blocking pool, so wrap it in a
/// [`BufReader`](std::io::BufReader) or [`BufWriter`](std::io::BufWriter) for small pieces.
///
/// ```
/// use greenloom::fs::{self, File};
/// use std::io::{Read, Seek, Write};
///
/// let path = std::env::temp_dir().join(format!("greenloom-doc-{}", std::process::id()));
/// let mut file = File::open_with(&path, std::fs::OpenOptions::new().create(true).write(true).read(true))?;
/// file.write_all(b"green")?;
/// file.rewind()?;
/// let mut text = String::new();
/// file.read_to_string(&mut text)?;
/// assert_eq!(text, "green");
/// fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct File {
    std: Arc<fs::File>,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// Those of [`std::fs::File::open`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(path, fs::OpenOptions::new().read(true))
    }

    /// Opens a file for writing, made if it is not there, and emptied if it is.
    ///
    /// # Errors
    /// Those of [`std::fs::File::create`].
    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(path, fs::OpenOptions::new().write(true).create(true).truncate(true))
    }

    /// Opens a file as std's options say.
    ///
    /// # Errors
    /// Those of [`std::fs::OpenOptions::open`].
    pub fn open_with(path: impl AsRef<Path>, options: &fs::OpenOptions) -> io::Result<File> {
        let (path, options) = (own(path), options.clone());
        run(move || options.open(path)).map(File::from_std)
    }

    /// A file that std has opened.
    pub fn from_std(std: fs::File) -> File {
        File { std: Arc::new(std) }
    }

    /// It as std's type, for what has no method here.
    pub fn as_std(&self) -> &fs::File {
        &self.std
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let std = Arc::clone(&self.std);
        run(move || job(&std))
    }

    /// Has the system bring the contents and what it knows of the file to the disk.
    ///
    /// # Errors
    /// Those of [`std::fs::File::sync_all`].
    pub fn sync_all(&self) -> io::Result<()> {
        self.run(fs::File::sync_all)
    }

    /// As [`File::sync_all`], of the contents alone.
    ///
    /// # Errors
    /// Those of [`std::fs::File::sync_data`].
    pub fn sync_data(&self) -> io::Result<()> {
        self.run(fs::File::sync_data)
    }

    /// Makes it so long.
    ///
    /// # Errors
    /// Those of [`std::fs::File::set_len`].
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        self.run(move |file| file.set_len(length))
    }

    /// What the system knows of it.
    ///
    /// # Errors
    /// Those of [`std::fs::File::metadata`].
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.run(fs::File::metadata)
    }
}

/// The most that one call reads or writes, for it is copied between two OS threads.
const AT_ONCE: usize = 2 * 1024 * 1024;

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = buf.len().min(AT_ONCE);
        let bytes = self.run(move |mut file| {
            let mut bytes = vec![0; length];
            let count = file.read(&mut bytes)?;
            bytes.truncate(count);
            Ok(bytes)
        })?;
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let bytes = buf[..buf.len().min(AT_ONCE)].to_vec();
        self.run(move |mut file| file.write(&bytes))
    }

    /// Nothing is kept here; [`File::sync_all`] is what brings it to the disk.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.run(move |mut file| file.seek(to))
    }
}
