//! JSON as Python writes and reads it, which is more than the standard has: `NaN` and `Infinity`, halves of surrogate
//! pairs, whole numbers of any length, nesting of any depth.
//!
//! What is standard is left to serde_json. What is not is read into a [tree](node) first, and from there into whatever
//! Rust type is asked for; one that cannot hold it says so, and nothing becomes `null` silently. Written is only what
//! is standard: a `NaN` of ours is refused, for not everybody can read it.
//!
//! Reading a nested value takes stack for each level, so one that is nested deeply is read on a stack that is made for
//! its depth.

use std::borrow::Cow;

use greenloom::Builder;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Error, Result};

pub(crate) use scan::{entries, nesting};

mod finite;
mod node;
mod scan;

/// Nesting of this depth takes any stack.
const SHALLOW: usize = 16;
/// The deepest nesting that is read.
const DEEPEST: usize = 512;
/// What serde_json takes by itself.
const STANDARD: usize = 127;
/// What a level may take of the stack, in a build without optimization, and what else there has to be.
const LEVEL: usize = 8 * 1024;
const BASE: usize = 256 * 1024;

/// Runs `body` where there is stack for values that are nested so deeply.
pub(crate) fn with_stack_for<R>(depth: usize, body: impl FnOnce() -> R) -> R {
    if depth <= SHALLOW {
        return body();
    }
    let builder = Builder::new().stack_size(BASE + LEVEL * depth.min(DEEPEST));
    let caught = greenloom::scope(|scope| {
        let run = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        let thread = scope.spawn_with(builder, run).unwrap_or_else(|error| panic!("{error}"));
        thread.wait()
    });
    match caught {
        Ok(Ok(value)) => value,
        Ok(Err(payload)) => std::panic::resume_unwind(payload),
        Err(error) => panic!("{error}"),
    }
}

/// Reads a value.
pub(crate) fn from_str<T: DeserializeOwned>(text: &str) -> Result<T> {
    let depth = nesting(text);
    if depth > DEEPEST {
        return Err(Error::custom(format!("it is nested {depth} levels deep; {DEEPEST} are read")));
    }
    with_stack_for(depth, || match serde_json::from_str(text) {
        Err(error) if depth > STANDARD || scan::is_of_python(text) => {
            // What is wrong even so is told as serde_json has it, with its place.
            node::parse(text).map_or(Err(error), |node| T::deserialize(node))
        }
        read => read,
    })
}

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is given as a text or `null`.
pub(crate) fn text(json: &str) -> Result<Option<Cow<'_, str>>> {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(plain) = inner.filter(|inner| is_plain(inner)) {
        return Ok(Some(Cow::Borrowed(plain)));
    }
    Ok(serde_json::from_str::<Option<Text<'_>>>(json)?.map(|text| text.0))
}

/// Whether a text is in JSON as it is: no quotes, no backslashes, no control characters. Most are, and looking at all
/// of it without a branch is the fastest way to know.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'))
}

/// Appends a text.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a text is JSON, and a vector takes all");
    }
}

/// Writes a value.
pub(crate) fn to_string(value: &(impl Serialize + ?Sized)) -> Result<String> {
    let json = serde_json::to_string(value)?;
    // serde_json writes what is not finite as `null`.
    if json.as_bytes().windows(4).any(|window| window == b"null") {
        finite::check(value)?;
    }
    Ok(json)
}

/// Makes a value of anything.
pub(crate) fn to_value(value: impl Serialize) -> Result<serde_json::Value> {
    finite::check(&value)?;
    serde_json::to_value(value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    enum Shape {
        Dot,
        Circle(f64),
        Box { width: f64, height: Option<f64> },
    }

    #[test]
    fn what_python_writes_is_read_where_rust_can_hold_it() {
        assert!(from_str::<f64>("NaN").unwrap().is_nan());
        let values: Vec<f32> = from_str("[1, -2.5, Infinity, -Infinity, 1e400]").unwrap();
        assert_eq!(values, [1.0, -2.5, f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY]);
        let map: BTreeMap<String, Option<f64>> = from_str(r#"{"a": null, "\u00e9": Infinity}"#).unwrap();
        assert_eq!(map["é"], Some(f64::INFINITY));
        let shapes: Vec<Shape> =
            from_str(r#"["Dot", {"Circle": Infinity}, {"Box": {"width": -Infinity, "height": null}}]"#).unwrap();
        let narrow = Shape::Box { width: f64::NEG_INFINITY, height: None };
        assert_eq!(shapes, [Shape::Dot, Shape::Circle(f64::INFINITY), narrow]);
        assert_eq!(from_str::<f64>("1180591620717411303424").unwrap(), 2f64.powi(70));
        // To the last bit, which costs serde_json a feature.
        let exact = 0.123_456_789_012_345_67_f64 * 1e300;
        assert_eq!(from_str::<Value>(&format!("{exact:e}")).unwrap(), exact);
        assert_eq!(from_str::<Value>("1180591620717411303424").unwrap(), 2f64.powi(70));
        assert_eq!(from_str::<(u128, f64)>("[1180591620717411303424, Infinity]").unwrap().0, 1 << 70);

        /// Does not look at the rest.
        #[derive(Deserialize)]
        struct Only {
            name: String,
        }
        assert_eq!(from_str::<Only>(r#"{"text": "\ud800", "number": NaN, "name": "x"}"#).unwrap().name, "x");
    }

    #[test]
    fn what_rust_cannot_hold_is_an_error_and_never_null() {
        assert!(from_str::<Value>("NaN").unwrap_err().to_string().contains("only a float"));
        assert!(from_str::<Value>(r#"{"a": [Infinity]}"#).is_err() && from_str::<u32>("NaN").is_err());
        assert!(from_str::<String>(r#""\ud800""#).unwrap_err().to_string().contains("surrogate"));
        assert!(from_str::<u64>("1180591620717411303424").is_err());
        for broken in ["[NaN", "NaN]", r#"{"a" NaN}"#, "[NaN,]", "{NaN: 1}", "Nan", "[Infinity 1]", "\"\\ud800", ""] {
            assert!(from_str::<Value>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn nesting_is_read_on_a_stack_made_for_it() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for depth in [1, 100, 127, 128, 200, DEEPEST] {
            let value: Value = from_str(&nested(depth)).unwrap();
            with_stack_for(depth, || assert_eq!(value.to_string(), nested(depth)));
            with_stack_for(depth, || drop(value));
        }
        assert!(from_str::<Value>(&nested(DEEPEST + 1)).unwrap_err().to_string().contains("512"));
        assert!(from_str::<Value>(&nested(1_000_000)).is_err());
    }

    #[test]
    fn what_is_not_finite_is_not_written() {
        assert_eq!(to_string(&Some(1.5)).unwrap(), "1.5");
        assert_eq!(to_string(&(None::<f64>, "null")).unwrap(), r#"[null,"null"]"#);
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(to_string(&wrong).is_err() && to_string(&[1.0, wrong]).is_err() && to_value(Some(wrong)).is_err());
            assert!(to_string(&BTreeMap::from([("a", wrong as f32)])).is_err());
        }
    }
}
