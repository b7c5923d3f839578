//! Heads that come again and again: what was made of them is copied, and a whole head that is there once more is not
//! parsed.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use greenloom_http::{Head, Limits};

use crate::http::request;
use crate::py::ffi::PyObject;
use crate::py::object::Object;
use crate::py::{Owned, Result};

/// So many heads are remembered.
const REMEMBERED: usize = 16;

/// A longer head is not.
const LONGEST: usize = 2048;

/// The fields of a head, and an environ that has them.
struct Fields {
    fields: Vec<u8>,
    /// What the environ was copied from.
    base: Owned,
    environ: Owned,
}

/// A head from its first octet to its last, and what it says under some limits.
struct Whole {
    head: Vec<u8>,
    limits: Limits,
    /// What the environ was copied from.
    base: Owned,
    /// With all that does not depend on the connection.
    environ: Owned,
    said: Said,
}

/// What a head says beside its environ.
#[derive(Clone)]
pub struct Said {
    pub method: Owned,
    pub flags: i64,
    /// How long the body is.
    pub body: u64,
    /// Where the request line is in the head.
    pub line: Range<usize>,
    /// How long the head is.
    pub length: usize,
}

/// The heads that are remembered, by their hashes; and the hashes that were last seen in each place.
#[derive(Default)]
pub struct Heads {
    fields: Memo<Fields>,
    wholes: Memo<Whole>,
}

struct Memo<T> {
    known: RefCell<[Option<T>; REMEMBERED]>,
    seen: [Cell<u64>; REMEMBERED],
}

impl<T> Default for Memo<T> {
    fn default() -> Memo<T> {
        Memo { known: RefCell::new([const { None }; REMEMBERED]), seen: [const { Cell::new(0) }; REMEMBERED] }
    }
}

impl<T> Memo<T> {
    /// Whether this hash has just been seen in its place, too: what comes once is not worth a copy.
    fn has_come_before(&self, hash: u64) -> bool {
        self.seen[place_of(hash)].replace(hash) == hash
    }

    fn keep(&self, hash: u64, known: T) {
        let former = self.known.borrow_mut()[place_of(hash)].replace(known);
        // Objects may end with it, and run code.
        drop(former);
    }

    fn clear(&self) {
        let known = std::mem::replace(&mut *self.known.borrow_mut(), [const { None }; REMEMBERED]);
        drop(known);
    }
}

fn place_of(hash: u64) -> usize {
    hash as usize % REMEMBERED
}

impl Heads {
    pub fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        for known in self.fields.known.borrow().iter().flatten() {
            visit(known.base.as_ptr());
            visit(known.environ.as_ptr());
        }
        for known in self.wholes.known.borrow().iter().flatten() {
            [&known.base, &known.environ, &known.said.method].into_iter().for_each(|object| visit(object.as_ptr()));
        }
    }

    pub fn clear(&self) {
        self.fields.clear();
        self.wholes.clear();
    }

    /// An environ with the fields of a head, to be completed.
    pub fn environ(&self, head: &Head<'_, '_>, base: &Owned, fields: &[u8]) -> Result<Owned> {
        if fields.len() > LONGEST {
            return request::with_headers(head, Object::of(base));
        }
        let hash = hash_of(fields);
        let known = self.fields.known.borrow()[place_of(hash)].as_ref().and_then(|known| {
            (known.base.as_ptr() == base.as_ptr() && known.fields == fields).then(|| known.environ.clone())
        });
        if let Some(known) = known {
            return request::copy_of(Object::of(&known));
        }
        let environ = request::with_headers(head, Object::of(base))?;
        if self.fields.has_come_before(hash) {
            let kept = request::copy_of(Object::of(&environ))?;
            self.fields.keep(hash, Fields { fields: fields.to_vec(), base: base.clone(), environ: kept });
        }
        Ok(environ)
    }

    /// Whether the head in this place is what the bytes begin with.
    pub fn begins(&self, place: usize, data: &[u8], limits: &Limits) -> bool {
        self.wholes.known.borrow()[place].as_ref().is_some_and(|known| known.is_at_start_of(data, limits))
    }

    /// An environ of the head in this place, to be completed, and what it says else; none if it is not what the bytes
    /// begin with.
    pub fn again(&self, place: usize, data: &[u8], limits: &Limits, base: &Owned) -> Result<Option<(Owned, Said)>> {
        let known = self.wholes.known.borrow()[place].as_ref().and_then(|known| {
            (known.base.as_ptr() == base.as_ptr() && known.is_at_start_of(data, limits))
                .then(|| (known.environ.clone(), known.said.clone()))
        });
        let Some((environ, said)) = known else { return Ok(None) };
        Ok(Some((request::copy_of(Object::of(&environ))?, said)))
    }

    /// Notes that there was a head, with an environ that has all but what the connection says. Returns its place.
    pub fn note(&self, head: &[u8], limits: &Limits, base: &Owned, environ: &Owned, said: &Said) -> Result<usize> {
        if head.len() > LONGEST {
            return Ok(0);
        }
        let hash = hash_of(head);
        if self.wholes.has_come_before(hash) {
            let environ = request::copy_of(Object::of(environ))?;
            let (head, base, said) = (head.to_vec(), base.clone(), said.clone());
            self.wholes.keep(hash, Whole { head, limits: *limits, base, environ, said });
        }
        Ok(place_of(hash))
    }
}

impl Whole {
    /// A head is parsed from its start on, so that what follows it does not matter.
    fn is_at_start_of(&self, data: &[u8], limits: &Limits) -> bool {
        data.starts_with(&self.head) && self.limits == *limits
    }
}

/// Eight bytes at a time, as FxHash does; heads that collide only take each other's place.
fn hash_of(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0x51_7c_c1_b7_27_22_0a_95;
    let mut hash = bytes.len() as u64;
    let mut add = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(SEED);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        add(u64::from_le_bytes(chunk.try_into().expect("a chunk has eight bytes")));
    }
    let rest = chunks.remainder();
    add(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    hash ^ hash >> 32
}
