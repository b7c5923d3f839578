//! Hubs, stacks and green threads for people to read.

use std::fmt::{self, Write};
use std::fs;

use crate::counters::COUNTERS;
use crate::protocol::{Frame, Group, Hub, Info, Seconds, Stacks, Waits};

/// Hubs, a line each.
pub fn hubs(hubs: &[Hub]) -> String {
    let mut text = String::new();
    for hub in hubs {
        hub_line(&mut text, hub).expect("a string takes what it is given");
    }
    text
}

fn hub_line(text: &mut String, hub: &Hub) -> fmt::Result {
    let name = if hub.os_thread.is_empty() { String::new() } else { format!(" ({})", hub.os_thread) };
    let state = if hub.waits { "waits" } else { "runs" };
    write!(text, "hub {}{name} {state}", hub.number)?;
    for said in COUNTERS.iter().filter_map(|counter| counter.said(hub)) {
        write!(text, ", {said}")?;
    }
    writeln!(text)?;
    match hub.blocked {
        Some(seconds) => {
            let known = hub.whereabouts.as_deref().unwrap_or("something blocks its OS thread");
            writeln!(text, "hub {} has not moved for {seconds:.1} s: {known}", hub.number)?;
            hub.backtrace.iter().try_for_each(|frame| writeln!(text, "    {frame}"))
        }
        None => Ok(()),
    }
}

/// The innermost frames of native code in a line, files without their folders, and of the standard library the
/// functions alone. `None` if there is no frame.
///
/// ```
/// use greenloom_inspect::{Frame, text::in_a_line};
///
/// let frame = |file: &str, line, function: &str| Frame { file: file.into(), line, function: function.into() };
/// let stack = [frame("/lib/c.so+0x10", 0, "usleep"), frame("/lib/x.so+0x20", 0, ""), frame("/src/a.rs", 7, "a::nap")];
/// assert_eq!(in_a_line(&stack).unwrap(), "usleep < x.so+0x20 < a.rs:7 a::nap");
/// ```
pub fn in_a_line(frames: &[Frame]) -> Option<String> {
    const FRAMES: usize = 8;
    let said = |frame: &Frame| match frame.function.is_empty() {
        false if frame.line == 0 || frame.file.starts_with("/rustc/") => frame.function.clone(),
        _ => Frame { file: frame.file.rsplit('/').next().unwrap_or_default().into(), ..frame.clone() }.to_string(),
    };
    let said: Vec<_> = frames.iter().take(FRAMES).map(said).collect();
    (!said.is_empty()).then(|| said.join(" < "))
}

/// Groups of green threads, the largest first, each with its stack.
///
/// ```text
/// 50002 green threads at 3 places
///
/// 50000 waiting, such as 0:139632 0:139824
///     sleep.py:12 nap
///     worker.py:40 serve
/// ```
pub fn stacks(stacks: &Stacks) -> String {
    let mut text = String::new();
    write_stacks(&mut text, stacks).expect("a string takes what it is given");
    text
}

fn write_stacks(text: &mut String, stacks: &Stacks) -> fmt::Result {
    let (total, places) = (stacks.total, stacks.groups.len());
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    // Where nothing could be looked at, the problem says why.
    match total == 0 && !stacks.problems.is_empty() {
        true => writeln!(text, "green threads unknown")?,
        false => writeln!(text, "{total} green thread{} at {places} place{}", plural(total), plural(places as u64))?,
    }
    for problem in stacks.problems.iter().chain(&stacks.hints) {
        writeln!(text, "{problem}")?;
    }
    if stacks.left_out > 0 {
        writeln!(text, "{} more are at other places, too many to tell them apart", stacks.left_out)?;
    }
    for group in &stacks.groups {
        writeln!(text)?;
        group_head(text, group)?;
        if let Some(oldest) = oldest(group) {
            writeln!(text, "  the oldest: {oldest}")?;
        }
        for frame in &group.stack {
            writeln!(text, "    {frame}")?;
        }
    }
    Ok(())
}

fn group_head(text: &mut String, group: &Group) -> fmt::Result {
    write!(text, "{} {}", group.count, group.state)?;
    if let Some(what) = &group.waits_for {
        write!(text, " for: {what}")?;
    }
    if let Some(name) = &group.name {
        write!(text, ", {name}")?;
    }
    let word = if group.count > group.examples.len() as u64 { ", such as" } else { ":" };
    write!(text, "{word}")?;
    for example in &group.examples {
        write!(text, " {example}")?;
    }
    writeln!(text)
}

/// A green thread, with its stack.
///
/// ```text
/// green thread 0:2098
/// state       waiting
/// waits for   semaphore, at 0x7f3a9c0012d0, 30 wait there, for 0:17
///
///     src/pool.rs:63 pool::take
///     src/main.rs:40 server::handle
/// ```
pub fn thread(info: &Info) -> String {
    let mut lines = vec![format!("green thread {}", info.thread)];
    lines.extend(about(info));
    lines.extend((!info.stack.is_empty()).then(String::new));
    lines.extend(info.stack.iter().map(|frame| format!("    {frame}")));
    lines.join("\n") + "\n"
}

/// What is known of a green thread beside its stack, a line for each thing.
pub fn about(info: &Info) -> Vec<String> {
    let waits_for = info.waits_for.as_ref().map(|what| {
        let at = info.waits.as_ref().and_then(waits).map(|at| format!(", {at}")).unwrap_or_default();
        format!("{what}{at}")
    });
    let waiters: Vec<_> = info.waiters.iter().map(ToString::to_string).collect();
    let known = [
        ("name", info.name.clone()),
        ("age", info.age.map(|age| duration(age.into()))),
        ("state", Some(info.state.to_string())),
        ("waits for", waits_for),
        ("waited for", (!waiters.is_empty()).then(|| format!("by {}", waiters.join(" ")))),
    ];
    known.into_iter().filter_map(|(name, what)| Some(format!("{name:<11} {}", what?))).collect()
}

/// What is known of the oldest of a group: its age, and at what it waits.
pub fn oldest(group: &Group) -> Option<String> {
    let age = group.age.map(|Seconds(age)| format!("{} old", duration(age.as_secs_f64())));
    let known: Vec<_> = age.into_iter().chain(group.waits.as_ref().and_then(waits)).collect();
    (!known.is_empty()).then(|| known.join(", "))
}

/// At what a green thread waits, in words, as far as there is something to say.
pub fn waits(waits: &Waits) -> Option<String> {
    let mut known = Vec::new();
    known.extend((!waits.object.is_empty()).then(|| format!("at {}", waits.object)));
    known.extend((!waits.detail.is_empty()).then(|| waits.detail.clone()));
    known.extend((waits.waiters > 1).then(|| format!("{} wait there", waits.waiters)));
    known.extend(waits.holder.map(|holder| match waits.holder_has_ended {
        true => "taken last by one that has ended".into(),
        false => format!("for {holder}"),
    }));
    known.extend(waits.due_in.map(|due| match due {
        0.0.. => format!("due in {}", duration(due)),
        _ => format!("late by {}", duration(-due)),
    }));
    (!known.is_empty()).then(|| known.join(", "))
}

/// Seconds, in a unit that suits them.
///
/// ```
/// use greenloom_inspect::text::duration;
///
/// assert_eq!([0.0021, 1.25, 75.0, 7300.0].map(duration), ["2.1 ms", "1.2 s", "75 s", "2 h 1 min"]);
/// ```
pub fn duration(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.1} ms", seconds * 1e3),
        1.0..10.0 => format!("{seconds:.1} s"),
        10.0..300.0 => format!("{seconds:.0} s"),
        300.0..3600.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{} h {} min", seconds as u64 / 3600, seconds as u64 % 3600 / 60),
    }
}

/// What was started, with its arguments, as the system has it, in one line.
pub(crate) fn command_line() -> String {
    let bytes = fs::read("/proc/self/cmdline").unwrap_or_default();
    let words = String::from_utf8_lossy(&bytes).replace('\0', " ");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{State, Thread};

    #[test]
    fn a_group_shows_how_many_where_and_who() {
        let frame = |file: &str, line, function: &str| Frame { file: file.into(), line, function: function.into() };
        let group = Group {
            count: 2,
            stack: vec![frame("sleep.py", 12, "nap"), frame("worker.py", 40, "serve")],
            examples: vec![Thread { hub: 0, number: 7 }, Thread { hub: 1, number: 9 }],
            ..Group::default()
        };
        let named = Group {
            state: State::Waits,
            waits_for: Some("sleep".into()),
            name: Some("spawned at src/main.rs:7:5".into()),
            count: 100,
            examples: vec![Thread { hub: 0, number: 1 }],
            ..Group::default()
        };
        let seen = Stacks { total: 102, groups: vec![named, group], left_out: 3, ..Stacks::default() };
        let expected = "102 green threads at 2 places\n\
                        3 more are at other places, too many to tell them apart\n\n\
                        100 waiting for: sleep, spawned at src/main.rs:7:5, such as 0:1\n\n\
                        2 waiting: 0:7 1:9\n    sleep.py:12 nap\n    worker.py:40 serve\n";
        assert_eq!(stacks(&seen), expected);
    }
}
