//! The timeline as one page of HTML that works from a file, offline: the script and its style are in the page, and the
//! events as columns of numbers, in base64, so that the script uses them as they are.

use crate::record::Wake;
use crate::timeline::{NoteKind, State, Timeline};

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPTS: [&str; 3] = [include_str!("page/data.js"), include_str!("page/views.js"), include_str!("page/page.js")];

/// "None" in a column of track numbers.
const NONE: u32 = u32::MAX;

impl Timeline {
    /// The timeline as a page: zoom, search, a flame chart of run time, and the longest waits and runs.
    pub fn page(&self) -> String {
        let (shape, columns) = (self.shape(), self.columns());
        let mut page = String::with_capacity(columns.len() / 3 * 4 + (1 << 16));
        let mut rest = PAGE;
        // Each mark once, in this order.
        for (mark, text) in [("{title}", escape(&self.title)), ("{style}", STYLE.into()), ("{shape}", shape)] {
            rest = copy_until(rest, mark, &mut page);
            page.push_str(&text);
        }
        rest = copy_until(rest, "{columns}", &mut page);
        base64(&columns, &mut page);
        rest = copy_until(rest, "{script}", &mut page);
        SCRIPTS.iter().for_each(|script| page.push_str(script));
        page.push_str(rest);
        page
    }

    /// What the script has to know before it can read the columns, as JSON.
    fn shape(&self) -> String {
        let changes: usize = self.tracks.iter().map(|track| track.changes.len()).sum();
        let texts: Vec<String> = self.texts.iter().map(|text| json(text)).collect();
        let hubs = self
            .hubs
            .iter()
            .map(|hub| format!("{{\"name\":{},\"dropped\":{},\"end\":{}}}", json(&hub.name), hub.dropped, hub.last));
        let hubs: Vec<String> = hubs.collect();
        format!(
            "{{\"title\":{},\"events\":{},\"tracks\":{},\"changes\":{changes},\"arrows\":{},\"notes\":{},\"hubs\":[{}],\
             \"texts\":[{}]}}",
            json(&self.title),
            self.events(),
            self.tracks.len(),
            self.arrows.len(),
            self.notes.len(),
            hubs.join(","),
            texts.join(",")
        )
    }

    /// The columns, in the order in which `data.js` takes them: those of 8 bytes, then those of 4.
    fn columns(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let changes = || self.tracks.iter().flat_map(|track| &track.changes);
        times(&mut out, changes().map(|change| change.time));
        times(&mut out, self.arrows.iter().map(|arrow| arrow.time));
        times(&mut out, self.notes.iter().map(|note| note.time));
        words(&mut out, self.tracks.iter().map(|track| track.hub));
        words(&mut out, self.tracks.iter().map(|track| track.name));
        words(&mut out, self.tracks.iter().map(|track| track.made_by.unwrap_or(NONE)));
        words(&mut out, self.tracks.iter().map(|track| track.id));
        words(&mut out, self.tracks.iter().map(|track| track.changes.len() as u32));
        words(&mut out, changes().map(|change| state_number(change.state) | change.text << 2));
        words(&mut out, self.arrows.iter().map(|arrow| arrow.from.unwrap_or(NONE)));
        words(&mut out, self.arrows.iter().map(|arrow| arrow.to << 2 | wake_number(arrow.by)));
        words(&mut out, self.notes.iter().map(|note| note.track.unwrap_or(NONE)));
        words(&mut out, self.notes.iter().map(|note| note_number(note.kind)));
        words(&mut out, self.notes.iter().map(|note| u32::try_from(note.value).unwrap_or(u32::MAX)));
        out
    }
}

fn times(out: &mut Vec<u8>, times: impl Iterator<Item = u64>) {
    times.for_each(|time| out.extend_from_slice(&(time as f64).to_le_bytes()));
}

fn words(out: &mut Vec<u8>, words: impl Iterator<Item = u32>) {
    words.for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}

fn state_number(state: State) -> u32 {
    match state {
        State::Ready => 0,
        State::Running => 1,
        State::Waiting => 2,
        State::Ended => 3,
    }
}

fn wake_number(by: Wake) -> u32 {
    match by {
        Wake::Thread => 0,
        Wake::Timer => 1,
        Wake::Io => 2,
        Wake::Elsewhere => 3,
    }
}

fn note_number(kind: NoteKind) -> u32 {
    match kind {
        NoteKind::TimerLag => 0,
        NoteKind::BlockingQueued => 1,
        NoteKind::BlockingRan => 2,
        NoteKind::LockWait => 3,
        NoteKind::Lost => 4,
    }
}

/// Copies what comes before `mark` and returns what comes after it.
fn copy_until<'a>(page: &'a str, mark: &str, out: &mut String) -> &'a str {
    let (before, after) = page.split_once(mark).expect("the page has each mark once, in this order");
    out.push_str(before);
    after
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A text as JSON that may stand in a script element.
fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '<' | '\u{0}'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn base64(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char;
            out.push(if place <= three.len() { digit } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_rfc_4648_has_it() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            let mut out = String::new();
            base64(text.as_bytes(), &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn a_name_cannot_end_the_script_it_stands_in() {
        assert_eq!(json("</script>\"\\\n"), "\"\\u003c/script>\\\"\\\\\\u000a\"");
        let (writer, mut reader) = crate::ring(4, "</script><b>");
        writer.spawn(0, 1, writer.text("</script><script>alert(1)</script>"));
        let mut timeline = Timeline::new("<title>");
        timeline.add(&reader.take());
        let page = timeline.page();
        assert!(!page.contains("alert(1)</script>") && page.contains("<title>&lt;title></title>"));
    }
}
