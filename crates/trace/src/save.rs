//! The timeline as a file. What cannot be written leaves nothing behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::Timeline;

/// What a timeline is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// For [Perfetto's UI](https://ui.perfetto.dev), which opens files of any name.
    Perfetto,
    /// One page of HTML, which needs nothing else.
    Html,
}

impl Format {
    /// That of a file's name: a page if it ends in `.html` or `.htm`, else Perfetto's.
    ///
    /// ```
    /// use greenloom_trace::Format;
    ///
    /// assert_eq!(Format::of("out.html".as_ref()), Format::Html);
    /// assert_eq!(Format::of("out.perfetto-trace".as_ref()), Format::Perfetto);
    /// ```
    pub fn of(path: &Path) -> Format {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(extension) if ["html", "htm"].iter().any(|html| extension.eq_ignore_ascii_case(html)) => Format::Html,
            _ => Format::Perfetto,
        }
    }
}

impl Timeline {
    /// Writes the timeline to `path`, as its name says ([`Format::of`]). It is complete or not there: it is written
    /// beside its place first, and a file that was there is replaced at the end.
    ///
    /// # Errors
    /// Those of the file system, with the path and what would help in the text.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.save_as(&path, Format::of(path.as_ref()))
    }

    /// As [`Timeline::save`], whatever its name says.
    ///
    /// # Errors
    /// As there.
    pub fn save_as(&self, path: impl AsRef<Path>, format: Format) -> io::Result<()> {
        let path = path.as_ref();
        let bytes = match format {
            Format::Perfetto => self.perfetto(),
            Format::Html => self.page().into_bytes(),
        };
        write_whole(path, &bytes).map_err(|error| explain(path, bytes.len(), &error))
    }

    /// Whether a timeline can be written to `path`: to be asked before recording begins.
    ///
    /// # Errors
    /// As [`Timeline::save`].
    pub fn can_save(path: impl AsRef<Path>) -> io::Result<()> {
        let (path, partial) = (path.as_ref(), partial(path.as_ref()));
        let tried = if is_special(path) {
            File::options().write(true).open(path).map(drop)
        } else {
            File::create(&partial).and_then(|_| fs::remove_file(&partial))
        };
        tried.map_err(|error| explain(path, 0, &error))
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_special(path) {
        return File::create(path)?.write_all(bytes);
    }
    let partial = partial(path);
    let written =
        File::create(&partial).and_then(|mut file| file.write_all(bytes)).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Whether it is a device or a pipe, which cannot be replaced.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

fn explain(path: &Path, length: usize, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => {
            format!("; the disk is full, and the trace needs {} MB there", length.div_ceil(1 << 20))
        }
        io::ErrorKind::PermissionDenied => "; choose a folder that this user may write to".into(),
        io::ErrorKind::NotFound => "; make its folder first".into(),
        _ => String::new(),
    };
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    io::Error::new(error.kind(), format!("cannot write the trace to {}: {text}{hint}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_what_is_needed() {
        let error = Timeline::new("test").save("/dev/full").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let text = error.to_string();
        assert!(text.starts_with("cannot write the trace to /dev/full") && text.contains("needs 1 MB there"), "{text}");
    }

    #[test]
    fn a_folder_that_is_missing_is_said_before_recording_begins() {
        let error = Timeline::can_save("/nowhere/at/all.html").unwrap_err();
        assert!(error.to_string().ends_with("make its folder first"), "{error}");
    }

    #[test]
    fn what_could_not_be_put_in_its_place_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("greenloom-trace-save-{}", std::process::id()));
        // A folder is where the file should go.
        fs::create_dir_all(folder.join("out.html/full")).unwrap();
        assert!(Timeline::new("test").save(folder.join("out.html")).is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        Timeline::new("test").save(folder.join("good.html")).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(folder).unwrap();
    }
}
