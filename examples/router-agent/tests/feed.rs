//! The feed's parser on whatever there is to parse.

use proptest::prelude::*;
use router_agent::feed::{Fails, Priority, Update, parse};

/// A line that means something, and what it means.
fn line() -> impl Strategy<Value = (String, Update)> {
    let priority =
        prop_oneof![Just(("high", Priority::High)), Just(("normal", Priority::Normal)), Just(("low", Priority::Low)),];
    let change = prop_oneof![
        Just("sync".to_string()),
        Just("delete".to_string()),
        "(add-interface|set-gateway|remove-floating-ip) [0-9a-z.:/]{1,20}",
    ];
    let fails = prop_oneof![
        Just((String::new(), Fails::Times(0))),
        Just((" fails=always".to_string(), Fails::Always)),
        any::<u32>().prop_map(|times| (format!(" fails={times}"), Fails::Times(times))),
    ];
    ("[a-zA-Z0-9-]{1,12}", priority, change, fails, "[ \t]{0,3}").prop_map(
        |(router, priority, change, fails, space)| {
            let text = format!("{space}{router} {} {change}{}{space}\r", priority.0, fails.0);
            (text, Update { router, priority: priority.1, change, fails: fails.1 })
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(lines in prop::collection::vec(line(), 0..20)) {
        let (texts, updates): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
        // A comment and an empty line before each: the numbers count them.
        let feed: String = texts.iter().map(|text| format!("# comment\n\n{text}\n")).collect();
        let read: Vec<_> = parse(&feed).collect::<Result<_, _>>().unwrap();
        let expected: Vec<_> = updates.into_iter().enumerate().map(|(index, update)| (3 * index + 3, update)).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_bad_line_leaves_the_others_alone(before in line(), bad in "[^\n#]{0,40}", after in line()) {
        let feed = format!("{}\nr1 soon {bad}\n{}\n", before.0, after.0);
        let read: Vec<_> = parse(&feed).collect();
        prop_assert_eq!(read.len(), 3);
        prop_assert_eq!(&read[0], &Ok((1, before.1)));
        prop_assert_eq!(read[1].as_ref().unwrap_err().line, 2);
        prop_assert_eq!(&read[2], &Ok((3, after.1)));
    }

    #[test]
    fn any_text_is_updates_and_bad_lines_in_order(text in "(?s).{0,200}") {
        let numbers: Vec<_> = parse(&text).map(|line| line.map_or_else(|bad| bad.line, |(number, _)| number)).collect();
        prop_assert!(numbers.is_sorted_by(|earlier, later| earlier < later));
        prop_assert!(numbers.last().is_none_or(|last| *last <= text.lines().count()));
    }
}
