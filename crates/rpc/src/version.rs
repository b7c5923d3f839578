//! Versions of interfaces: `major.minor`, where a minor step adds and a major step breaks.

/// Whether it is a version.
pub(crate) fn is_version(text: &str) -> bool {
    parse(text).is_some()
}

/// Whether what `has` offers serves one who asks for `wants`: the same major number, and a minor one that is as high. A
/// third number counts where the first two are equal. `None` for what is no version.
///
/// Semantics: oslo's `version_is_compatible`.
pub(crate) fn serves(has: &str, wants: &str) -> Option<bool> {
    let (has, wants) = (parse(has)?, parse(wants)?);
    Some(has.0 == wants.0 && (has.1, has.2) >= (wants.1, wants.2))
}

fn parse(version: &str) -> Option<(u32, u32, u32)> {
    // By hand: it is done several times a call.
    let (mut numbers, mut count, mut has_digits) = ([0u32; 3], 0, false);
    for byte in version.bytes() {
        match byte {
            b'0'..=b'9' => {
                numbers[count] = numbers[count].checked_mul(10)?.checked_add(u32::from(byte - b'0'))?;
                has_digits = true;
            }
            b'.' if has_digits && count < 2 => (count, has_digits) = (count + 1, false),
            _ => return None,
        }
    }
    (has_digits && count > 0).then_some(numbers.into())
}

#[cfg(test)]
mod tests {
    use super::{is_version, serves};

    #[test]
    fn a_higher_minor_number_serves_a_lower_one_of_the_same_major() {
        for (has, wants, serves_it) in [
            ("1.3", "1.3", true),
            ("1.3", "1.0", true),
            ("1.3", "1.4", false),
            ("1.10", "1.9", true),
            ("2.0", "1.0", false),
            ("1.0", "2.0", false),
            ("1.3.2", "1.3.1", true),
            ("1.3", "1.3.1", false),
            ("1.4", "1.3.9", true),
        ] {
            assert_eq!(serves(has, wants), Some(serves_it), "{has} for {wants}");
        }
    }

    #[test]
    fn what_is_no_version_is_told_apart() {
        for bad in ["", "1", "1.", ".1", "1..2", "1.2.", "one.two", "1.2.3.4", "1.-2", "1.+2", "1.4294967296", "1. 2"] {
            assert_eq!(serves("1.0", bad), None, "{bad:?}");
            assert!(!is_version(bad), "{bad:?}");
        }
    }
}
