//! How it is drawn.

use greenloom_inspect::counters::{COUNTERS, milliseconds};
use greenloom_inspect::metrics::Kind;
use greenloom_inspect::protocol::Sizes;
use greenloom_inspect::{Group, Info, text};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table, TableState, Wrap};

use super::state::{Program, Screen, State, place_of};
use super::watched::HubNow;

const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const QUIET: Style = Style::new().fg(Color::DarkGray);

/// Lines of hints at most.
const HINTS: usize = 6;

/// Draws the screen.
pub fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let [body, foot] = Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    match state.screen().clone() {
        Screen::All => all(frame, body, state),
        Screen::Group { pid, group, chosen } => one_group(frame, body, pid, &group, chosen),
        Screen::One { pid, thread } => {
            let title = format!("green thread {thread} of process {pid}");
            one(frame, body, &title, state.one.as_ref(), state.scrolled);
        }
    }
    frame.render_widget(Paragraph::new(keys(state)), foot);
}

/// What the keys do.
fn keys(state: &State) -> Line<'static> {
    let frozen = if state.is_frozen { "FROZEN  " } else { "" };
    let rest = match state.screen() {
        _ if state.is_typing => return Line::from(format!("filter: {}_   enter keep, esc none", state.filter)),
        Screen::All => {
            let filter = if state.filter.is_empty() { String::new() } else { format!(" ({})", state.filter) };
            format!("enter look in  s sort by ({})  / filter{filter}  f freeze  q quit", state.sort.name())
        }
        Screen::Group { .. } => "enter look in  esc back  f freeze  q quit".into(),
        Screen::One { .. } => "up, down scroll  esc back  f freeze  q quit".into(),
    };
    Line::from(vec![Span::styled(frozen, BAD), Span::styled(rest, QUIET)])
}

/// Hubs, hints, groups.
fn all(frame: &mut Frame<'_>, area: Rect, state: &mut State) {
    let heads: Vec<Line<'_>> = state.programs.iter().map(head).collect();
    let hubs: Vec<Row<'_>> =
        state.programs.iter().flat_map(|program| program.hubs.iter().map(|hub| hub_row(program, hub))).collect();
    let hints: Vec<Line<'_>> = state.programs.iter().flat_map(hints).take(HINTS).collect();
    let most_hubs = (area.height / 3).max(2);
    let heights = [heads.len() as u16, (hubs.len() as u16 + 1).min(most_hubs), hints.len() as u16];
    let [top, middle, warn, bottom] = Layout::vertical([
        Constraint::Length(heights[0]),
        Constraint::Length(heights[1]),
        Constraint::Length(heights[2]),
        Constraint::Min(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(heads), top);
    let counters = COUNTERS.iter().filter_map(|counter| counter.heading).map(|name| (name, name.len().max(8)));
    let columns = [("PID", 7), ("HUB", 4), ("THREAD", 14), ("", 8), ("LOAD", 5)].into_iter().chain(counters);
    let columns = columns.chain([("READY", 6), ("TIMERS", 7), ("FDS", 6)]);
    let (names, widths): (Vec<_>, Vec<_>) =
        columns.map(|(name, width)| (name, Constraint::Length(width as u16))).unzip();
    frame.render_widget(Table::new(hubs, widths).header(Row::new(names).style(HEAD)), middle);
    frame.render_widget(Paragraph::new(hints), warn);

    let rows = state.rows();
    let several = state.programs.len() > 1;
    let groups = rows.iter().map(|(program, group)| {
        let program = &state.programs[*program];
        group_row(&program.stacks.groups[*group], several.then_some(program.watch.pid))
    });
    let names = ["COUNT", "STATE", "WAITS FOR", "OLDEST", "WHERE"].map(String::from);
    let widths = [
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(16),
        Constraint::Length(9),
        Constraint::Min(10),
    ];
    let table = Table::new(groups, widths).header(Row::new(names).style(HEAD)).row_highlight_style(CHOSEN);
    let mut chosen = TableState::default().with_selected((!rows.is_empty()).then_some(state.chosen));
    frame.render_stateful_widget(table, bottom, &mut chosen);
}

fn head(program: &Program) -> Line<'static> {
    let greeting = &program.watch.greeting;
    let (pid, language) = (program.watch.pid, &greeting.language);
    let stacks = &program.stacks;
    let memory = program.memory.map(|bytes| format!(", {} MB", bytes >> 20)).unwrap_or_default();
    // Nobody has told yet, or nothing could be looked at, as the problem says.
    let is_unknown = stacks.total == 0 && (program.hubs.is_empty() || !stacks.problems.is_empty());
    let counts = match is_unknown {
        true => format!("  green threads unknown{memory}  "),
        false => format!("  {} green threads at {} places{memory}  ", stacks.total, stacks.groups.len()),
    };
    let mut spans = vec![Span::styled(format!("{pid} {language}"), HEAD), Span::from(counts)];
    match &program.problem {
        Some(problem) => spans.push(Span::styled(problem.clone(), BAD)),
        None => spans.push(Span::styled(short(&greeting.program), QUIET)),
    }
    Line::from(spans)
}

/// What was started, without the folders of its words.
fn short(program: &str) -> String {
    let words = program.split(' ').map(|word| word.rsplit('/').next().unwrap_or(word));
    words.collect::<Vec<_>>().join(" ")
}

fn hub_row(program: &Program, now: &HubNow) -> Row<'static> {
    let hub = &now.hub;
    let state = match hub.blocked {
        Some(seconds) => format!("STUCK {seconds:.0}s"),
        None => String::from(if hub.waits { "waits" } else { "runs" }),
    };
    let sizes = program.stacks.hubs.iter().find(|sizes| sizes.hub == hub.number);
    let size = |size: fn(&Sizes) -> Option<u64>| {
        sizes.and_then(size).map_or_else(|| String::from("-"), |size| size.to_string())
    };
    let known = [
        program.watch.pid.to_string(),
        hub.number.to_string(),
        hub.os_thread.clone(),
        state,
        now.load.map_or_else(|| String::from("-"), |load| format!("{:.0} %", load * 100.0)),
    ];
    let counted = COUNTERS.iter().zip(&now.rates).filter(|(counter, _)| counter.heading.is_some());
    let counted = counted.map(|(counter, rate)| match (counter.kind, (counter.value)(hub)) {
        (Kind::Counter, _) => format!("{rate:.0}"),
        (_, Some(value)) if counter.is_time => milliseconds(value),
        (_, Some(value)) => value.to_string(),
        (_, None) => String::from("-"),
    });
    let sizes = [size(|sizes| Some(sizes.ready)), size(|sizes| Some(sizes.timers)), size(|sizes| sizes.descriptors)];
    let row = Row::new(known.into_iter().chain(counted).chain(sizes));
    if hub.blocked.is_some() { row.style(BAD) } else { row }
}

fn hints(program: &Program) -> Vec<Line<'static>> {
    let pid = program.watch.pid;
    let stuck = program.hubs.iter().filter_map(|now| {
        let where_ = now.hub.whereabouts.as_ref()?;
        let said = format!("{pid}: hub {} has not moved for {:.1} s: {where_}", now.hub.number, now.hub.blocked?);
        let native = text::in_a_line(&now.hub.backtrace).map(|line| format!("{pid}: in {line}"));
        Some([Some(said), native].into_iter().flatten())
    });
    let others = program.stacks.problems.iter().chain(&program.stacks.hints).map(|hint| format!("{pid}: {hint}"));
    stuck.flatten().chain(others).map(|hint| Line::styled(hint, BAD)).collect()
}

fn group_row(group: &Group, pid: Option<u32>) -> Row<'static> {
    let place = place_of(group);
    let outer = group.stack.iter().skip(1).take(2).map(|frame| format!(" < {}", frame.function)).collect::<String>();
    let pid = pid.map(|pid| format!("{pid} ")).unwrap_or_default();
    Row::new([
        group.count.to_string(),
        group.state.to_string(),
        group.waits_for.clone().unwrap_or_default(),
        group.age.map(|age| text::duration(age.into())).unwrap_or_default(),
        format!("{pid}{place}{outer}"),
    ])
}

fn one_group(frame: &mut Frame<'_>, area: Rect, pid: u32, group: &Group, chosen: usize) {
    let what = group.waits_for.as_ref().map(|what| format!(" for: {what}")).unwrap_or_default();
    let mut lines = vec![Line::styled(format!("{} {}{what}, of process {pid}", group.count, group.state), HEAD)];
    lines.extend(group.name.as_ref().map(|name| Line::from(name.clone())));
    lines.extend(text::oldest(group).map(|oldest| Line::from(format!("the oldest: {oldest}"))));
    lines.push(Line::default());
    lines.push(Line::styled("EXAMPLES, the oldest first", HEAD));
    lines.extend(group.examples.iter().enumerate().map(|(place, thread)| {
        let style = if place == chosen { CHOSEN } else { Style::new() };
        Line::styled(format!("  {thread}  "), style)
    }));
    lines.push(Line::default());
    lines.extend(stack(&group.stack));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

fn one(frame: &mut Frame<'_>, area: Rect, title: &str, found: Option<&Result<Info, String>>, scrolled: u16) {
    let mut lines = vec![Line::styled(title.to_owned(), HEAD)];
    match found {
        None => lines.push(Line::styled("it is being asked for", QUIET)),
        Some(Err(problem)) => lines.push(Line::styled(problem.clone(), BAD)),
        Some(Ok(info)) => lines.extend(about(info)),
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((scrolled, 0)), area);
}

fn about(info: &Info) -> Vec<Line<'static>> {
    let mut lines: Vec<_> = text::about(info).into_iter().map(Line::from).collect();
    lines.push(Line::default());
    lines.extend(stack(&info.stack));
    lines
}

fn stack(frames: &[greenloom_inspect::Frame]) -> Vec<Line<'static>> {
    let head = (!frames.is_empty()).then(|| Line::styled("STACK, the innermost first", HEAD));
    let line = |frame: &greenloom_inspect::Frame| Line::from(format!("  {frame}"));
    head.into_iter().chain(frames.iter().map(line)).collect()
}
