//! The feed: router updates as lines of text. The format is described at the top of `routers.feed`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How urgent an update is; the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// As most.
    Normal,
    /// After all others.
    Low,
}

/// How often the device refuses an update before it goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fails {
    /// So many times.
    Times(u32),
    /// For ever.
    Always,
}

/// One update of one router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The router's name.
    pub router: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What is to be done, with its argument.
    pub change: String,
    /// How often it fails.
    pub fails: Fails,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

/// What can be done to a router, and whether it takes an argument.
const ACTIONS: [(&str, bool); 8] = [
    ("add-interface", true),
    ("remove-interface", true),
    ("set-gateway", true),
    ("clear-gateway", false),
    ("add-floating-ip", true),
    ("remove-floating-ip", true),
    ("sync", false),
    ("delete", false),
];

/// Reads a feed: each update, or what is wrong with its line, with the line's number. Empty lines and comments are
/// passed over.
///
/// ```
/// use router_agent::feed::parse;
///
/// let lines: Vec<_> = parse("# a comment\nr1 high sync\nr2 soon sync\n").collect();
/// assert_eq!(lines[0].as_ref().unwrap().1.router, "r1");
/// let bad = lines[1].as_ref().unwrap_err();
/// assert_eq!(bad.to_string(), "line 3: \"soon\" is no priority: high, normal or low");
/// ```
pub fn parse(text: &str) -> impl Iterator<Item = Result<(usize, Update), BadLine>> + '_ {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let meant = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    meant.map(|(line, text)| match text.parse() {
        Ok(update) => Ok((line, update)),
        Err(problem) => Err(BadLine { line, problem }),
    })
}

impl FromStr for Update {
    type Err = String;

    fn from_str(line: &str) -> Result<Update, String> {
        let mut words = line.split_whitespace();
        let router = words.next().ok_or("the line is empty")?;
        if !router.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-') {
            return Err(format!("{router:?} is no router's name: letters, digits and dashes"));
        }
        let priority = match words.next().ok_or("the priority is missing")? {
            "high" => Priority::High,
            "normal" => Priority::Normal,
            "low" => Priority::Low,
            other => return Err(format!("{other:?} is no priority: high, normal or low")),
        };
        let action = words.next().ok_or("the action is missing")?;
        let known = ACTIONS.iter().find(|(name, _)| *name == action);
        let (_, has_argument) = known.ok_or_else(|| format!("{action:?} is no action"))?;
        let mut change = action.to_string();
        if *has_argument {
            let argument = words.next().filter(|word| !word.starts_with("fails="));
            let argument = argument.ok_or_else(|| format!("{action} wants an argument"))?;
            // It goes into a line for the device and onto a terminal.
            if !argument.chars().all(|letter| letter.is_ascii_graphic()) {
                return Err(format!("{argument:?} is no argument: printable ASCII"));
            }
            change = format!("{action} {argument}");
        }
        let fails = match words.next() {
            None => Fails::Times(0),
            Some(word) => {
                let times = word.strip_prefix("fails=").ok_or_else(|| format!("{word:?} is too much"))?;
                match times {
                    "always" => Fails::Always,
                    number => Fails::Times(number.parse().map_err(|_| format!("fails={number}: a number, or always"))?),
                }
            }
        };
        if let Some(word) = words.next() {
            return Err(format!("{word:?} is too much"));
        }
        Ok(Update { router: router.to_string(), priority, change, fails })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        line.parse::<Update>().unwrap_err()
    }

    #[test]
    fn a_line_is_an_update() {
        let update: Update = "r007 low add-interface 10.0.0.0/24 fails=2".parse().unwrap();
        let expected = Update {
            router: "r007".into(),
            priority: Priority::Low,
            change: "add-interface 10.0.0.0/24".into(),
            fails: Fails::Times(2),
        };
        assert_eq!(update, expected);
        assert_eq!("r1 high sync fails=always".parse::<Update>().unwrap().fails, Fails::Always);
    }

    #[test]
    fn a_broken_line_says_what_is_wrong() {
        for (line, part) in [
            ("r1", "priority is missing"),
            ("r1 soon sync", "\"soon\" is no priority"),
            ("r1 high", "action is missing"),
            ("r1 high reboot", "\"reboot\" is no action"),
            ("r1 high add-interface", "wants an argument"),
            ("r1 high add-interface fails=1", "wants an argument"),
            ("r1 high sync fails=often", "a number, or always"),
            ("r1 high sync now", "\"now\" is too much"),
            ("r1 high sync fails=1 now", "\"now\" is too much"),
            ("r/1 high sync", "no router's name"),
            ("r1 high set-gateway \u{1b}[31m", "is no argument"),
            ("r1 high set-gateway \u{fffd}", "is no argument"),
        ] {
            assert!(problem(line).contains(part), "{line:?}: {}", problem(line));
        }
    }

    #[test]
    fn comments_and_empty_lines_count_as_lines_only() {
        let lines: Vec<_> = parse("\n# one\n  r1 high sync  \n\nbroken\n").collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].as_ref().unwrap().0, 3);
        assert_eq!(lines[1].as_ref().unwrap_err().line, 5);
    }

    #[test]
    fn the_shipped_feed_has_what_the_demo_needs() {
        let (good, bad): (Vec<_>, Vec<_>) = parse(include_str!("../routers.feed")).partition(Result::is_ok);
        let routers: std::collections::HashSet<_> = good.iter().flatten().map(|(_, update)| &update.router).collect();
        assert_eq!((good.len(), bad.len(), routers.len()), (3200, 5, 319));
    }
}
