//! The program `greenloom` in a pseudo-terminal, whose screen is read.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The program in a terminal of its own.
pub struct Terminal {
    pub program: Program,
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
    reads: JoinHandle<()>,
    /// What reads the screen ends with it.
    on: OwnedFd,
}

const ROWS: u16 = 24;
const COLUMNS: u16 = 110;

impl Terminal {
    pub fn run(words: &str) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        tcsetwinsize(&ours, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let open = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        // In a session of its own the terminal of whoever runs the test is not asked for its size.
        let program = Command::new("setsid")
            .arg(env!("CARGO_BIN_EXE_greenloom"))
            .args(words.split(' '))
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn();
        let program = Program(program.unwrap());
        let [rows, columns] = [ROWS, COLUMNS].map(|size| NonZero::new(size).unwrap());
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (shown, ours): (_, OwnedFd) = (Arc::clone(&screen), ours);
        let mut reads = File::from(ours.try_clone().unwrap());
        let (is_on, on) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let reads = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let mut either = [PollFd::new(&reads, PollFlags::IN), PollFd::new(&is_on, PollFlags::IN)];
                poll(&mut either, None).unwrap();
                if !either[1].revents().is_empty() {
                    return;
                }
                match reads.read(&mut bytes) {
                    Ok(count @ 1..) => shown.lock().unwrap().process(&bytes[..count]),
                    // The other end is closed when the program has ended: an error.
                    _ => return,
                }
            }
        });
        Terminal { program, keys: File::from(ours), screen, reads, on }
    }

    /// The terminal goes away, as that of a session does that is closed. Returns the program.
    pub fn hang_up(self) -> Program {
        let Terminal { program, keys, reads, on, .. } = self;
        drop(on);
        reads.join().unwrap();
        drop(keys);
        program
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is as wanted, and returns it.
    pub fn shows(&self, what: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen.lock().unwrap().screen().contents();
            if is_wanted(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{what} is not shown:\n{screen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The screen as a picture, without this text where it stands.
    pub fn svg(&self, without: &str) -> String {
        const WIDTH: f64 = 8.4;
        const HEIGHT: f64 = 18.0;
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        let (width, height) = (f64::from(COLUMNS) * WIDTH + 16.0, f64::from(ROWS) * HEIGHT + 16.0);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" \
             font-size=\"14\">\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#1c1e24\"/>\n"
        );
        for row in 0..ROWS {
            // Cells that look the same are one text, of a length that is said, as fonts differ.
            let mut column = 0;
            while column < COLUMNS {
                let look = look_of(screen, row, column);
                let end = (column..COLUMNS).find(|next| look_of(screen, row, *next) != look).unwrap_or(COLUMNS);
                let text: String = (column..end).map(|column| text_of(screen, row, column)).collect();
                let text = text.replace(without, "");
                let (x, y) = (8.0 + f64::from(column) * WIDTH, 8.0 + f64::from(row) * HEIGHT);
                let length = f64::from(end - column) * WIDTH;
                if look.inverse {
                    svg += &format!(
                        "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{length:.1}\" height=\"{HEIGHT}\" fill=\"#d7dae0\"/>\n"
                    );
                }
                if !text.trim().is_empty() {
                    let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
                    let length = text.chars().count() as f64 * WIDTH;
                    let place = format!("x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{length:.1}\"", y + 13.5);
                    let colour = look.colour;
                    let text = text.replace('&', "&amp;").replace('<', "&lt;");
                    svg += &format!("<text {place} xml:space=\"preserve\" fill=\"{colour}\"{weight}>{text}</text>\n");
                }
                column = end;
            }
        }
        svg + "</svg>\n"
    }

    pub fn has(&self, what: &str) -> String {
        self.shows(what, |screen| screen.contains(what))
    }
}

/// The program, which ends with the test.
pub struct Program(Child);

impl Program {
    /// Waits for its end, and returns its exit status.
    pub fn end(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a cell looks.
#[derive(PartialEq)]
struct Look {
    colour: &'static str,
    bold: bool,
    inverse: bool,
}

fn look_of(screen: &vt100::Screen, row: u16, column: u16) -> Look {
    let Some(cell) = screen.cell(row, column) else { return Look { colour: "", bold: false, inverse: false } };
    let colour = match cell.fgcolor() {
        _ if cell.inverse() => "#1c1e24",
        vt100::Color::Idx(1 | 9) => "#ff6b68",
        vt100::Color::Idx(8) => "#8a919e",
        _ => "#d7dae0",
    };
    Look { colour, bold: cell.bold(), inverse: cell.inverse() }
}

fn text_of(screen: &vt100::Screen, row: u16, column: u16) -> &str {
    screen.cell(row, column).map(vt100::Cell::contents).filter(|text| !text.is_empty()).unwrap_or(" ")
}
