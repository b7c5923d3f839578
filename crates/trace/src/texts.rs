//! Names and reasons by number. There are few different ones, and no more than a bound: a program that gives each of a
//! million green threads a name of its own makes no table of a million names here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::record::{RESERVED, Text};

/// How many there are at most.
const MOST: usize = 1 << 16;

/// Bytes of one at most.
const LONGEST: usize = 1024;

/// What stands for all texts beyond [`MOST`].
const OTHERS: &str = "(others)";

/// The writer's side: finds the number of a text.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    numbers: HashMap<Box<str>, Text>,
}

/// What the readers look numbers up in.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    /// Without the reserved ones.
    all: Mutex<Vec<Box<str>>>,
}

impl Finder {
    pub fn find(&mut self, text: &str, texts: &Texts) -> Text {
        let text = shortened(text);
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text = if self.numbers.len() < MOST - 1 { text } else { OTHERS };
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let mut all = texts.lock();
        let number = Text(u32::try_from(all.len()).expect("their number is bounded") + RESERVED);
        all.push(text.into());
        drop(all);
        self.numbers.insert(text.into(), number);
        number
    }
}

impl Texts {
    fn lock(&self) -> MutexGuard<'_, Vec<Box<str>>> {
        // Texts are only appended.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those from the one with this number on, reserved ones left out; no more when they have so many bytes.
    pub fn since(&self, first: usize, bytes: usize) -> Vec<Box<str>> {
        let all = self.lock();
        let (mut end, mut room) = (first, bytes);
        while room > 0 && end < all.len() {
            room = room.saturating_sub(all[end].len().max(1));
            end += 1;
        }
        all[first..end].to_vec()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }
}

fn shortened(text: &str) -> &str {
    if text.len() <= LONGEST {
        return text;
    }
    let mut end = LONGEST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_beyond_the_bound_share_one_number() {
        let (mut finder, texts) = (Finder::default(), Texts::default());
        for number in 0..MOST + 1000 {
            finder.find(&format!("name {number}"), &texts);
        }
        assert_eq!(texts.len(), MOST);
        assert_eq!(&*texts.since(MOST - 1, 1)[0], OTHERS);
        assert_eq!(finder.find("name 5", &texts), Text(RESERVED + 5));
        assert_eq!(finder.find("one more", &texts), finder.find("yet another", &texts));
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let (mut finder, texts) = (Finder::default(), Texts::default());
        finder.find(&"é".repeat(LONGEST), &texts);
        assert_eq!(texts.since(0, 1)[0].len(), LONGEST);
    }
}
