//! The program, as a person runs it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_router-agent"))
}

/// A feed in a file of its own; put there whole, since another run of these tests may be reading it.
fn feed(name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let aside = path.with_extension(std::process::id().to_string());
    std::fs::write(&aside, text).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    path
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The number before `what` in a summary.
fn number(summary: &str, what: &str) -> usize {
    let line = summary.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what:?} in:\n{summary}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn run(feed: &Path, arguments: &[&str]) -> Output {
    program().arg("--feed").arg(feed).args(arguments).output().unwrap()
}

#[test]
fn every_update_is_applied_merged_or_given_up() {
    let mut lines = String::new();
    for number in 0..120 {
        let fails = match number % 40 {
            7 => " fails=1",
            17 => " fails=always",
            _ => "",
        };
        lines += &format!("r{} normal add-interface 10.0.{number}.0/24{fails}\n", number % 10);
    }
    // The same change thrice in a row: two of them find the first still waiting.
    lines += &"r99 low sync\n".repeat(3);
    let output = run(&feed("mixed.feed", &lines), &["--workers", "4"]);
    let summary = text(&output.stdout);
    assert!(output.status.success(), "{summary}{}", text(&output.stderr));
    assert_eq!(number(&summary, "updates for 11 routers, 4 workers"), 123);
    assert_eq!(number(&summary, "given up after"), 3);
    assert_eq!(number(&summary, "merged"), 2);
    assert_eq!(number(&summary, "applied"), 118);
    // Three that fail once, and three tries put off for each that never goes through.
    assert_eq!(number(&summary, "retries"), 3 + 3 * 3);
    assert_eq!(number(&summary, "bad lines"), 0);
    assert!(summary.contains("was the slowest router"), "{summary}");
}

#[test]
fn bad_lines_are_named_with_file_and_line_and_skipped() {
    let path = feed("bad.feed", "# comment\nr1 high sync\nr1 soon sync\n\nr2 low explode\n");
    let output = run(&path, &[]);
    let errors = text(&output.stderr);
    for part in [":3: \"soon\" is no priority", ":5: \"explode\" is no action"] {
        assert!(errors.contains(&format!("{}{part}", path.display())), "{part} is not in:\n{errors}");
    }
    let summary = text(&output.stdout);
    assert_eq!((number(&summary, "bad lines"), number(&summary, "applied")), (2, 1));
}

#[test]
fn bytes_that_are_no_utf_8_spoil_their_own_line_only() {
    let path = feed("bytes.feed", b"r1 high sync\nr2 high set-gateway \xff\xfe\nr\xff high sync\nr3 high sync\n");
    let output = run(&path, &[]);
    let errors = text(&output.stderr);
    assert!(errors.contains(":2: ") && errors.contains(":3: "), "{errors}");
    let summary = text(&output.stdout);
    assert_eq!((number(&summary, "bad lines"), number(&summary, "applied")), (2, 2));
}

#[test]
fn what_was_given_up_says_why() {
    let summary = text(&run(&feed("why.feed", "r1 high sync fails=always\n"), &[]).stdout);
    assert!(summary.contains("r1 sync (line 1, the device says: busy)"), "{summary}");
}

#[test]
fn a_reader_that_went_away_is_no_panic() {
    let path = feed("unread.feed", "r1 high sync\nr2 soon sync\n");
    let mut running = program().arg("--feed").arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(running.stdout.take());
    let output = running.wait_with_output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("cannot write the summary") && !errors.contains("panicked"), "{errors}");

    let mut running = program().arg("--feed").arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(running.stderr.take());
    let output = running.wait_with_output().unwrap();
    assert_eq!((output.status.code(), number(&text(&output.stdout), "applied")), (Some(0), 1));
}

#[test]
fn routers_limits_the_feed() {
    let path = feed("limit.feed", "a high sync\nb high sync\na low sync\nc high sync\n");
    let summary = text(&run(&path, &["--routers", "2"]).stdout);
    assert_eq!(number(&summary, "updates for 2 routers"), 3);
}

#[test]
fn a_feed_that_cannot_be_read_and_options_that_make_no_sense_are_named() {
    let output = run(Path::new("no/such.feed"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot read the feed no/such.feed"), "{}", text(&output.stderr));
    for (arguments, part) in [
        (&["--workers", "0"][..], "--workers must be at least 1"),
        (&["--workers", "many"], "many"),
        (&["--speed", "9"], "--speed"),
        (&["--role", "boss"], "\"boss\" is no role"),
        (&["--role", "agent"], "does not reach beyond this program"),
    ] {
        let output = program().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let errors = text(&output.stderr);
        assert!(errors.contains(part) && errors.contains("--help"), "{errors}");
    }
    let help = program().arg("--help").output().unwrap();
    assert!(help.status.success() && text(&help.stdout).contains("--feed FILE"));
}

#[test]
fn ctrl_c_stops_it_with_the_summary() {
    let lines: String = (0..3000).map(|number| format!("r{number} normal sync\n")).collect();
    let mut running = program()
        .arg("--feed")
        .arg(feed("long.feed", &lines))
        .args(["--workers", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its first line of progress says that it works.
    let mut errors = BufReader::new(running.stderr.take().unwrap());
    let mut progress = String::new();
    errors.read_line(&mut progress).unwrap();
    assert!(progress.contains("waiting"), "{progress}");
    // An impatient one: the second comes while the first is worked on.
    for _ in 0..2 {
        // SAFETY: sends a signal to the child that was just started and not waited for.
        assert_eq!(unsafe { libc::kill(running.id().try_into().unwrap(), libc::SIGINT) }, 0);
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut summary = String::new();
    running.stdout.take().unwrap().read_to_string(&mut summary).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(130), "{summary}");
    assert!(summary.contains("stopped after"), "{summary}");
    let left = number(&summary, "not begun or not finished");
    assert!(left > 1000, "{summary}");
    assert_eq!(number(&summary, "applied") + left, number(&summary, "updates for"));
}
