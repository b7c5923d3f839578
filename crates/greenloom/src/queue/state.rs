//! What the lock of a queue protects, and its three lines: of getters, of putters, and of those that wait for tasks.

use std::marker::PhantomData;

use super::order::Order;
use crate::runtime::line::{Granted, Line, LineRules};

pub(super) struct State<O: Order> {
    pub items: O,
    pub capacity: usize,
    pub closed: bool,
    /// They wait for an item; nothing means that the queue was closed.
    pub getters: Line<(), Option<O::Item>>,
    /// They wait for room with their item; it comes back if the queue is closed.
    pub putters: Line<O::Item, Result<(), O::Item>>,
    pub unfinished: usize,
    pub joiners: Line<(), ()>,
}

pub(super) struct Getters<O>(PhantomData<O>);
pub(super) struct Putters<O>(PhantomData<O>);
pub(super) struct Joiners<O>(PhantomData<O>);

impl<O: Order> LineRules for Getters<O> {
    type State = State<O>;
    type Brings = ();
    type Grant = Option<O::Item>;
    const WAITS_FOR: &'static str = "queue: an item";

    #[inline]
    fn line(state: &mut State<O>) -> &mut Line<(), Option<O::Item>> {
        &mut state.getters
    }

    fn take_back(state: &mut State<O>, item: Option<O::Item>) -> Option<Granted> {
        let mut item = Some(item?);
        let next = state.getters.grant(|()| item.take());
        if let Some(item) = item {
            state.items.push_back_in(item);
        }
        next
    }
}

impl<O: Order> LineRules for Putters<O> {
    type State = State<O>;
    type Brings = O::Item;
    type Grant = Result<(), O::Item>;
    const WAITS_FOR: &'static str = "queue: room";

    #[inline]
    fn line(state: &mut State<O>) -> &mut Line<O::Item, Result<(), O::Item>> {
        &mut state.putters
    }

    fn take_back(_: &mut State<O>, _: Result<(), O::Item>) -> Option<Granted> {
        // The item is in the queue already, or the queue is closed.
        None
    }
}

impl<O: Order> LineRules for Joiners<O> {
    type State = State<O>;
    type Brings = ();
    type Grant = ();
    const WAITS_FOR: &'static str = "queue: tasks";

    fn line(state: &mut State<O>) -> &mut Line<(), ()> {
        &mut state.joiners
    }

    fn take_back(_: &mut State<O>, (): ()) -> Option<Granted> {
        None
    }
}

impl<O: Order> State<O> {
    /// Puts an item where there is a place for it: with a getter that waits, or among the items.
    #[inline]
    pub fn put_now(&mut self, item: O::Item) -> Result<Option<Granted>, O::Item> {
        let mut item = Some(item);
        if let Some(getter) = self.getters.grant(|()| item.take()) {
            self.unfinished += 1;
            return Ok(Some(getter));
        }
        match item {
            Some(item) if self.items.len() >= self.capacity => Err(item),
            Some(item) => {
                self.unfinished += 1;
                self.items.push(item);
                Ok(None)
            }
            None => unreachable!("only a getter takes it"),
        }
    }

    /// Takes an item, and lets the first putter that waits fill its place.
    #[inline]
    pub fn get_now(&mut self) -> Option<(O::Item, Option<Granted>)> {
        let item = self.items.pop();
        if item.is_some() && self.items.len() >= self.capacity {
            // One that was put back had the place.
            return item.map(|item| (item, None));
        }
        match (item, self.admit_putter()) {
            (item, None) => item.map(|item| (item, None)),
            (None, Some((moved, putter))) => Some((moved, Some(putter))),
            (Some(item), Some((moved, putter))) => {
                self.items.push(moved);
                Some((item, Some(putter)))
            }
        }
    }

    /// Takes the item of the first putter that waits.
    #[inline]
    pub fn admit_putter(&mut self) -> Option<(O::Item, Granted)> {
        let mut moved = None;
        let putter = self.putters.grant(|item| {
            moved = Some(item);
            Ok(())
        });
        self.unfinished += usize::from(moved.is_some());
        moved.zip(putter)
    }
}
