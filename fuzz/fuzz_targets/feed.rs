//! The feed's parser: whatever the text, each meant line is an update or a bad line with its number.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let meant = text.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')).count();
    let mut parsed = 0;
    let mut last = 0;
    for line in router_agent::feed::parse(text) {
        let number = match &line {
            Ok((number, update)) => {
                assert!(!update.router.is_empty() && !update.change.is_empty());
                assert!(update.change.chars().all(|letter| letter == ' ' || letter.is_ascii_graphic()));
                *number
            }
            Err(bad) => {
                assert!(!bad.problem.is_empty());
                bad.line
            }
        };
        assert!(number > last && number <= text.lines().count());
        last = number;
        parsed += 1;
    }
    assert_eq!(parsed, meant);
});
