//! What a consumer knows of the requests that it has taken, so that one that comes twice is not worked on twice.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::hash::HashMap;
use crate::id::Unique;
use crate::lately::{FROM_A_BROKER, Lately};
use crate::transport::Incoming;

/// How many finished requests are remembered with their answers.
const REMEMBERED: usize = 1024;

/// A request's unique id. Most are as our own, and take no allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Id {
    Short(Unique),
    Other(Rc<str>),
}

impl From<&str> for Id {
    fn from(text: &str) -> Id {
        text.try_into().map_or_else(|_| Id::Other(text.into()), Id::Short)
    }
}

/// The requests that are in work, and the last that were finished, by unique id.
pub(crate) struct Known {
    pub requests: HashMap<Id, Stage>,
    /// Those that are finished, in that order.
    finished: VecDeque<Id>,
    /// Those finished before them, whose answers are forgotten.
    before: Lately<Id>,
}

pub(crate) enum Stage {
    InWork(Deliveries),
    /// What was answered, if it was not too long.
    Finished(Option<Arc<[u8]>>),
}

/// All that is to be settled when a request ends.
pub(crate) struct Deliveries {
    pub latest: Incoming,
    /// Those before it: over connections that are gone, or copies.
    pub earlier: Vec<Incoming>,
}

impl From<Incoming> for Deliveries {
    fn from(latest: Incoming) -> Deliveries {
        Deliveries { latest, earlier: Vec::new() }
    }
}

impl Known {
    /// For requests from a broker, or from within the process, where an acknowledgement is never forgotten.
    pub fn new(is_wire: bool) -> Known {
        let before = Lately::new(if is_wire { FROM_A_BROKER } else { 0 });
        Known { requests: HashMap::default(), finished: VecDeque::new(), before }
    }

    /// Whether it was finished so long ago that its answer is forgotten.
    pub fn is_long_finished(&self, id: &Id) -> bool {
        self.before.contains(id)
    }

    /// Ends the work. Returns what is to be settled.
    pub fn end(&mut self, id: &Id) -> Option<Deliveries> {
        match self.requests.remove(id)? {
            Stage::InWork(deliveries) => Some(deliveries),
            Stage::Finished(_) => None,
        }
    }

    /// Ends the work, and remembers it.
    pub fn finish(&mut self, id: &Id, answer: Option<Arc<[u8]>>) -> Option<Deliveries> {
        let stage = self.requests.get_mut(id)?;
        let Stage::InWork(deliveries) = std::mem::replace(stage, Stage::Finished(answer)) else { return None };
        if self.finished.len() >= REMEMBERED
            && let Some(oldest) = self.finished.pop_front()
        {
            self.requests.remove(&oldest);
            self.before.add(oldest);
        }
        self.finished.push_back(id.clone());
        Some(deliveries)
    }
}
