//! Files on the blocking pool.

mod common;

use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use common::millis;
use greenloom::fs::{self, File};
use greenloom::{Refused, get_hub, sleep, spawn};

/// A directory of its own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("greenloom-fs-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("deep")).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_and_directories_are_made_read_moved_and_removed() {
    let directory = Directory::new("all");
    let (one, two) = (directory.0.join("one"), directory.0.join("two"));
    fs::write(&one, "first\nsecond\n").unwrap();
    assert_eq!(fs::read_to_string(&one).unwrap(), "first\nsecond\n");
    assert_eq!(fs::copy(&one, &two).unwrap(), 13);
    assert_eq!(fs::read(&two).unwrap(), b"first\nsecond\n");
    let mut names: Vec<_> =
        fs::read_dir(&directory.0).unwrap().iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["deep", "one", "two"]);
    fs::rename(&one, directory.0.join("deep/three")).unwrap();
    assert_eq!(fs::metadata(&one).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(fs::symlink_metadata(directory.0.join("deep")).unwrap().is_dir());
    fs::remove_file(&two).unwrap();
    fs::create_dir(&two).unwrap();
    fs::remove_dir(&two).unwrap();
    assert!(fs::canonicalize(&directory.0).unwrap().is_absolute());
    fs::remove_dir_all(directory.0.join("deep")).unwrap();
    assert!(fs::read_dir(&directory.0).unwrap().is_empty());
}

#[test]
fn an_open_file_is_read_written_and_sought() {
    let directory = Directory::new("open");
    let path = directory.0.join("file");
    let mut file = File::create(&path).unwrap();
    let large = vec![b'l'; 5 << 20];
    file.write_all(&large).unwrap();
    file.sync_data().unwrap();
    file.set_len(5).unwrap();
    file.seek(SeekFrom::Start(2)).unwrap();
    file.write_all(b"x\nend").unwrap();
    file.sync_all().unwrap();
    assert_eq!(file.metadata().unwrap().len(), 7);
    assert_eq!(file.as_std().metadata().unwrap().len(), 7);
    let mut lines = BufReader::new(File::open(&path).unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let mut rest = Vec::new();
    lines.read_to_end(&mut rest).unwrap();
    assert_eq!((&*line, &*rest), ("llx\n", &b"end"[..]));
    assert_eq!(File::open(directory.0.join("none")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_hub_goes_on_while_a_file_keeps_an_os_thread_waiting() {
    let directory = Directory::new("pipe");
    let path = directory.0.join("fifo");
    let made = greenloom::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // Opening a named pipe waits for the other end.
    let reader = spawn({
        let path = path.clone();
        move || fs::read_to_string(path)
    });
    sleep(millis(2));
    assert!(!reader.is_dead());
    fs::write(&path, "through").unwrap();
    assert_eq!(reader.wait().unwrap().unwrap(), "through");
}

#[test]
fn in_the_hub_it_is_refused() {
    let (sender, receiver) = std::sync::mpsc::channel();
    get_hub().schedule_call_global(millis(0), move || sender.send(fs::read("/proc/self/status")).unwrap());
    sleep(millis(1));
    let error = receiver.recv().unwrap().unwrap_err();
    assert!(error.get_ref().is_some_and(|error| error.is::<Refused>()), "{error}");
}
