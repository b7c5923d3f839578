//! What is shown, and what keys do to it.

use greenloom_inspect::{Group, Info, Stacks, Thread};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::watched::{Found, HubNow, News, Watch};

/// What follows a key.
#[derive(Debug, PartialEq, Eq)]
pub enum After {
    GoOn,
    End,
}

/// A program, as it was seen last.
pub struct Program {
    pub watch: Watch,
    pub hubs: Vec<HubNow>,
    pub stacks: Stacks,
    pub memory: Option<u64>,
    /// Why nothing comes.
    pub problem: Option<String>,
}

/// By what groups are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    #[default]
    Count,
    Age,
    Place,
}

impl Sort {
    pub const fn name(self) -> &'static str {
        match self {
            Sort::Count => "count",
            Sort::Age => "age",
            Sort::Place => "place",
        }
    }

    const fn next(self) -> Sort {
        match self {
            Sort::Count => Sort::Age,
            Sort::Age => Sort::Place,
            Sort::Place => Sort::Count,
        }
    }
}

/// What the screen is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Screen {
    /// Hubs and groups.
    All,
    /// A group of a process, and which of its examples is chosen.
    Group { pid: u32, group: Box<Group>, chosen: usize },
    /// A green thread of a process.
    One { pid: u32, thread: Thread },
}

/// All of it.
pub struct State {
    pub programs: Vec<Program>,
    /// The way back is behind: the last is shown.
    pub screens: Vec<Screen>,
    /// Which row of the groups is chosen.
    pub chosen: usize,
    /// How many lines of a stack are scrolled over.
    pub scrolled: u16,
    pub sort: Sort,
    pub filter: String,
    /// Whether keys go to the filter.
    pub is_typing: bool,
    pub is_frozen: bool,
    /// What came while it was frozen, the newest of each program.
    kept: Vec<News>,
    /// All about the green thread that is shown.
    pub one: Option<Result<Info, String>>,
}

impl State {
    /// Nothing yet.
    pub fn new() -> State {
        State {
            programs: Vec::new(),
            screens: vec![Screen::All],
            chosen: 0,
            scrolled: 0,
            sort: Sort::default(),
            filter: String::new(),
            is_typing: false,
            is_frozen: false,
            kept: Vec::new(),
            one: None,
        }
    }

    /// One more program.
    pub fn add(&mut self, watch: Watch) {
        let (hubs, stacks) = (Vec::new(), Stacks::default());
        self.programs.push(Program { watch, hubs, stacks, memory: None, problem: None });
    }

    /// What is shown.
    pub fn screen(&self) -> &Screen {
        self.screens.last().unwrap_or(&Screen::All)
    }

    /// A program has answered, or does so no more.
    pub fn hear(&mut self, news: News) {
        if self.is_frozen {
            self.kept.retain(|kept| kept.pid != news.pid);
            self.kept.push(news);
            return;
        }
        let shown = match self.screen() {
            Screen::One { pid, thread } => Some((*pid, *thread)),
            _ => None,
        };
        let Some(program) = self.programs.iter_mut().find(|program| program.watch.pid == news.pid) else { return };
        match news.found {
            Err(problem) => program.problem = Some(problem),
            Ok(found) => {
                let Found { hubs, stacks, one, memory } = *found;
                (program.hubs, program.stacks, program.memory, program.problem) = (hubs, stacks, memory, None);
                let is_shown = |one: &Result<Info, String>| match (one, shown) {
                    (Ok(info), Some((pid, thread))) => pid == news.pid && info.thread == thread,
                    (Err(_), Some((pid, _))) => pid == news.pid,
                    _ => false,
                };
                match one.filter(is_shown) {
                    // What was known of one that has ended stays on the screen.
                    Some(Err(problem)) if self.one.as_ref().is_none_or(Result::is_err) => self.one = Some(Err(problem)),
                    Some(Ok(info)) => self.one = Some(Ok(info)),
                    _ => {}
                }
            }
        }
        self.follow_group();
        self.chosen = self.chosen.min(self.rows().len().saturating_sub(1));
    }

    /// The group that is shown, as it is now.
    fn follow_group(&mut self) {
        let is_same = |known: &Group, other: &Group| {
            (&known.stack, &known.name, &known.waits_for, known.state)
                == (&other.stack, &other.name, &other.waits_for, other.state)
        };
        let programs = &self.programs;
        for screen in &mut self.screens {
            let Screen::Group { pid, group, chosen } = screen else { continue };
            let Some(program) = programs.iter().find(|program| program.watch.pid == *pid) else { continue };
            match program.stacks.groups.iter().find(|other| is_same(group, other)) {
                Some(now) => **group = now.clone(),
                None => group.count = 0,
            }
            *chosen = (*chosen).min(group.examples.len().saturating_sub(1));
        }
    }

    /// The groups that are shown, by the places of their programs and their own.
    pub fn rows(&self) -> Vec<(usize, usize)> {
        let all = self.programs.iter().enumerate().flat_map(|(place, program)| {
            let groups = program.stacks.groups.iter().enumerate();
            groups.filter(|(_, group)| self.is_wanted(group)).map(move |(group, _)| (place, group))
        });
        let mut rows: Vec<_> = all.collect();
        let group = |(program, group): &(usize, usize)| &self.programs[*program].stacks.groups[*group];
        match self.sort {
            Sort::Count => rows.sort_by_key(|row| std::cmp::Reverse(group(row).count)),
            Sort::Age => rows.sort_by(|one, other| {
                let age = |row| group(row).age.map_or(-1.0, f64::from);
                age(other).total_cmp(&age(one))
            }),
            Sort::Place => rows.sort_by_cached_key(|row| place_of(group(row))),
        }
        rows
    }

    fn is_wanted(&self, group: &Group) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.filter.to_lowercase());
        self.filter.is_empty()
            || group.name.as_deref().is_some_and(has)
            || group.waits_for.as_deref().is_some_and(has)
            || group.waits.as_ref().is_some_and(|waits| has(&waits.detail))
            || group.stack.iter().any(|frame| has(&frame.function) || has(&frame.file))
    }

    /// Does what a key says.
    pub fn press(&mut self, key: KeyEvent) -> After {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return After::End;
        }
        if self.is_typing {
            match key.code {
                KeyCode::Enter => self.is_typing = false,
                KeyCode::Esc => (self.is_typing, self.filter) = (false, String::new()),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(letter) => self.filter.push(letter),
                _ => {}
            }
            self.chosen = 0;
            return After::GoOn;
        }
        match key.code {
            KeyCode::Char('q') => return After::End,
            KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => self.go_back(),
            KeyCode::Enter | KeyCode::Right => self.descend(),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(10),
            KeyCode::PageUp => self.step(-10),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('f' | ' ') => self.freeze(),
            _ => {}
        }
        After::GoOn
    }

    fn freeze(&mut self) {
        self.is_frozen = !self.is_frozen;
        for news in std::mem::take(&mut self.kept) {
            self.hear(news);
        }
    }

    fn go_back(&mut self) {
        if self.screens.len() > 1 {
            self.screens.pop();
        }
        self.show();
    }

    fn step(&mut self, by: isize) {
        let rows = self.rows().len();
        let moved = |place: usize, count: usize| place.saturating_add_signed(by).min(count.saturating_sub(1));
        match self.screens.last_mut() {
            Some(Screen::Group { group, chosen, .. }) => *chosen = moved(*chosen, group.examples.len()),
            Some(Screen::One { .. }) => self.scrolled = moved(self.scrolled.into(), usize::from(u16::MAX)) as u16,
            _ => self.chosen = moved(self.chosen, rows),
        }
    }

    /// From all to a group, from a group to one.
    fn descend(&mut self) {
        let next = match self.screen() {
            Screen::All => self.rows().get(self.chosen).map(|(program, group)| {
                let program = &self.programs[*program];
                let group = Box::new(program.stacks.groups[*group].clone());
                Screen::Group { pid: program.watch.pid, group, chosen: 0 }
            }),
            Screen::Group { pid, group, chosen } => {
                group.examples.get(*chosen).map(|thread| Screen::One { pid: *pid, thread: *thread })
            }
            Screen::One { .. } => None,
        };
        if let Some(next) = next {
            self.screens.push(next);
            self.show();
        }
    }

    /// Another screen is shown: its green thread is asked for.
    fn show(&mut self) {
        self.scrolled = 0;
        self.one = None;
        let wanted = match self.screen() {
            Screen::One { pid, thread } => Some((*pid, *thread)),
            _ => None,
        };
        for program in &self.programs {
            program.watch.want(wanted.filter(|(pid, _)| *pid == program.watch.pid).map(|(_, thread)| thread));
        }
        // It comes at once, also to a screen that is frozen.
        if wanted.is_some() && self.is_frozen {
            self.freeze();
        }
    }
}

/// Where a group is, in short.
pub fn place_of(group: &Group) -> String {
    match (group.stack.first(), &group.name) {
        (Some(frame), _) => {
            let file = frame.file.rsplit('/').next().unwrap_or_default();
            format!("{}:{} {}", file, frame.line, frame.function)
        }
        (None, Some(name)) => name.clone(),
        (None, None) => String::new(),
    }
}
