//! `greenloom top`: what programs do, refreshed while one looks, in a terminal.
//!
//! - `watched`: an OS thread for each program asks it, so that one that does not answer keeps no key waiting;
//! - `state`: what is shown, and what keys do to it;
//! - `view`: how it is drawn.

mod state;
mod view;
mod watched;

use std::io::{self, IsTerminal};
use std::sync::mpsc::channel;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, poll};

use crate::Outcome;
use state::{After, State};
use watched::Watch;

/// How long it waits for a key before it looks for answers.
const TICK: Duration = Duration::from_millis(50);

/// Shows what these processes do until the user has enough.
pub fn top(pids: &[u32], interval: Duration) -> Outcome {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err("top needs a terminal; `greenloom stacks PID` prints the same once".into());
    }
    // A process that cannot be looked into is said before the screen is taken.
    let clients = pids.iter().map(|pid| greenloom_inspect::Client::connect(*pid)).collect::<Result<Vec<_>, _>>()?;
    let (sender, news) = channel();
    let mut state = State::new();
    for client in clients {
        let watch = Watch::start(client, interval, sender.clone())?;
        state.add(watch);
    }
    drop(sender);
    end_with_terminal()?;
    let mut terminal = ratatui::try_init()?;
    let result = loop {
        while let Ok(news) = news.try_recv() {
            state.hear(news);
        }
        if let Err(error) = terminal.draw(|frame| view::draw(frame, &mut state)) {
            break Err(error);
        }
        match next_key() {
            Ok(Some(key)) if state.press(key) == After::End => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    ratatui::restore();
    Ok(result?)
}

/// Ends the process when its terminal goes away, as a session does that is closed. The signal for that is not sent to
/// every program, and some ignore it; what reads keys takes the end for silence, and asks again at once, for ever.
fn end_with_terminal() -> io::Result<()> {
    std::thread::Builder::new().name("terminal".into()).spawn(|| {
        let stdin = io::stdin();
        loop {
            // It is only told of an end: that needs not to be asked for.
            let mut end = [PollFd::new(&stdin, PollFlags::empty())];
            match poll(&mut end, None) {
                Ok(_) if !end[0].revents().is_empty() => std::process::exit(1),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                // The terminal can then not be watched, and is used as before.
                Err(_) => return,
            }
        }
    })?;
    Ok(())
}

/// A key, or nothing for something else, or when there is none.
fn next_key() -> io::Result<Option<event::KeyEvent>> {
    if !event::poll(TICK)? {
        return Ok(None);
    }
    match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => Ok(Some(key)),
        _ => Ok(None),
    }
}
