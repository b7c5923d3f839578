//! A connection to a bus, its listeners, and the right to settle what they took.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use greenloom::queue::{Queue as GreenQueue, Reason};
use greenloom::sync::{Permit, Semaphore};

use super::state::{BusState, Consumer, Delivered, Message, Queue, Shared, Unsettled};
use crate::deadline::Deadline;
use crate::reason::{Awaited, Lost};
use crate::transport::{
    Address, Depth, Incoming, Listener, Outgoing, Settle, State, Transport, TransportError, sealed,
};

/// One connection to a bus.
pub(super) struct MemoryTransport {
    shared: Arc<Shared>,
    id: u64,
    closed: Cell<bool>,
}

impl MemoryTransport {
    pub fn on(shared: Arc<Shared>) -> Rc<dyn Transport> {
        let id = shared.lock().number();
        Rc::new(MemoryTransport { shared, id, closed: Cell::new(false) })
    }

    fn check_open(&self) -> Result<(), TransportError> {
        if self.closed.get() { Err(TransportError::Closed) } else { Ok(()) }
    }

    fn add_consumer(
        &self,
        from: &[Address],
        prefetch: u16,
        settled_at_once: bool,
    ) -> Result<Rc<dyn Listener>, TransportError> {
        self.check_open()?;
        let mut state = self.shared.lock();
        let id = state.number();
        let queues: Vec<u64> = from.iter().map(|address| state.declare(address)).collect();
        let own = from.iter().filter(|address| matches!(address, Address::Reply { .. } | Address::Fanout { .. }));
        let inbox = Arc::new(GreenQueue::unbounded());
        let consumer = Consumer {
            connection: self.id,
            inbox: Arc::clone(&inbox),
            prefetch: prefetch.into(),
            queues: queues.clone(),
            own: own.cloned().collect(),
            unsettled: Default::default(),
            settled_at_once,
            stopped: false,
        };
        state.consumers.insert(id, consumer);
        for queue in queues {
            if let Some(queue) = state.queues.get_mut(&queue) {
                queue.consumers.push(id);
            }
            state.dispatch(queue);
        }
        drop(state);
        Ok(Rc::new(MemoryListener { shared: Arc::clone(&self.shared), id, inbox }))
    }

    fn consumers(&self, state: &BusState) -> Vec<u64> {
        let mine = state.consumers.iter().filter(|(_, consumer)| consumer.connection == self.id);
        mine.map(|(id, _)| *id).collect()
    }

    /// Puts a message into a queue; parks while that is full, at most for `limit`.
    fn put<'a>(
        &'a self,
        mut state: MutexGuard<'a, BusState>,
        queue: u64,
        body: Arc<[u8]>,
        expires: Option<Duration>,
        until: Option<Duration>,
    ) -> Result<MutexGuard<'a, BusState>, TransportError> {
        // Its place stays taken until the message is settled.
        let full = state.queues.get(&queue).and_then(|queue| queue.room.as_ref()).filter(|room| !took_place(room));
        if let Some(room) = full.map(Arc::clone) {
            drop(state);
            let place = match until {
                Some(until) => room.acquire_timeout(Deadline::until(until).left()),
                None => Some(room.acquire()),
            };
            place.ok_or_else(|| TransportError::TimedOut(Awaited::Room))?.forget();
            state = self.shared.lock();
        }
        state.push(queue, body, expires);
        Ok(state)
    }
}

impl sealed::Sealed for MemoryTransport {}

impl Transport for MemoryTransport {
    fn listen(&self, from: &[Address], prefetch: u16) -> Result<Rc<dyn Listener>, TransportError> {
        self.add_consumer(from, prefetch, false)
    }

    fn listen_for_replies(&self, queue: &str) -> Result<Rc<dyn Listener>, TransportError> {
        self.add_consumer(&[Address::Reply { queue: queue.to_owned() }], 0, true)
    }

    fn declare(&self, address: &Address) -> Result<(), TransportError> {
        self.check_open()?;
        if !matches!(address, Address::Fanout { .. }) {
            self.shared.lock().declare(address);
        }
        Ok(())
    }

    fn send(&self, to: &Address, message: Outgoing) -> Result<(), TransportError> {
        self.check_open()?;
        let mut state = self.shared.lock();
        let expires = message.expires_at.map(|at| state.on_its_clock(at));
        if state.outages > 0 {
            return Err(lost());
        }
        let fault = state.meets_fault();
        if fault != Some(false) {
            let body = message.body;
            let one_queue = state.routes.get(to).map(|queues| (queues.len(), queues.first().copied()));
            match one_queue {
                Some((1, Some(queue))) => state = self.put(state, queue, body, expires, message.until)?,
                Some(_) => {
                    let queues = state.routes.get(to).cloned().unwrap_or_default();
                    for queue in queues {
                        state = self.put(state, queue, Arc::clone(&body), expires, message.until)?;
                    }
                }
                None if message.mandatory || matches!(to, Address::Reply { .. }) => {
                    return Err(TransportError::Unroutable(to.clone()));
                }
                None => {}
            }
        }
        if fault.is_none() {
            return Ok(());
        }
        let mine = self.consumers(&state);
        mine.into_iter().for_each(|consumer| state.reconnect(consumer));
        Err(lost())
    }

    fn wait_connected(&self, timeout: Duration) -> bool {
        let state = self.shared.lock();
        if state.outages == 0 {
            return !self.closed.get();
        }
        let up = Arc::clone(&state.up);
        drop(state);
        up.wait_timeout(timeout).is_ok() && !self.closed.get()
    }

    fn state(&self) -> State {
        match self.closed.get() {
            true => State::Closed,
            false if self.shared.lock().outages > 0 => State::Reconnecting,
            false => State::Connected,
        }
    }

    fn depth(&self, of: &Address) -> Result<Option<Depth>, TransportError> {
        self.check_open()?;
        let state = self.shared.lock();
        let Some(ids) = state.routes.get(of) else { return Ok(None) };
        let ready = ids.iter().filter_map(|id| state.queues.get(id)).map(Queue::len).sum();
        let out = state.consumers.values().flat_map(|consumer| consumer.unsettled.values());
        let unsettled = out.filter(|unsettled| ids.contains(&unsettled.queue)).count();
        Ok(Some(Depth { queue: of.to_string(), ready, unsettled: Some(unsettled) }))
    }

    fn is_wire(&self) -> bool {
        self.shared.wire
    }

    fn close(&self) {
        self.closed.set(true);
        let mut state = self.shared.lock();
        for consumer in self.consumers(&state) {
            state.stop_consumer(consumer);
            state.reconnect(consumer);
        }
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes a place if there is one; returns whether there was.
fn took_place(room: &Semaphore) -> bool {
    room.try_acquire().map(Permit::forget).is_some()
}

fn lost() -> TransportError {
    TransportError::Disconnected(Arc::new(Lost::Cut))
}

struct MemoryListener {
    shared: Arc<Shared>,
    id: u64,
    inbox: Arc<GreenQueue<Delivered>>,
}

impl sealed::Sealed for MemoryListener {}

impl Listener for MemoryListener {
    fn next(&self) -> Result<Incoming, TransportError> {
        loop {
            let delivery = match self.inbox.get() {
                Ok(Delivered::Message(delivery)) => delivery,
                Ok(Delivered::Settled(_, queue, message)) => {
                    let Message { body, tries, reason, .. } = message;
                    return Ok(Incoming { body, queue, tries, reason, problem: None, settle: Box::new(Settled) });
                }
                Ok(Delivered::Lost) => return Err(lost()),
                Err(Reason::Closed) => return Err(TransportError::Closed),
                Err(refused) => return Err(TransportError::Failed(Arc::new(refused))),
            };
            let mut state = self.shared.lock();
            let BusState { consumers, queues, .. } = &mut *state;
            let unsettled = consumers.get_mut(&self.id).and_then(|consumer| consumer.unsettled.get_mut(&delivery));
            // One that has gone back since it was fetched comes again.
            let Some(Unsettled { queue, message, out }) = unsettled else { continue };
            let Some(queue) = queues.get(queue) else { continue };
            *out = true;
            return Ok(Incoming {
                body: Arc::clone(&message.body),
                queue: Arc::clone(&queue.name),
                tries: message.tries,
                reason: message.reason.clone(),
                problem: None,
                settle: Box::new(Token { shared: Arc::clone(&self.shared), consumer: self.id, delivery, used: false }),
            });
        }
    }

    fn stop(&self) {
        self.shared.lock().stop_consumer(self.id);
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Of a message that was settled when it was handed out.
struct Settled;

impl sealed::Sealed for Settled {}

impl Settle for Settled {
    fn ack(self: Box<Self>) -> Result<(), TransportError> {
        Ok(())
    }

    fn retry(self: Box<Self>) -> Result<(), TransportError> {
        Err(lost())
    }

    fn bury(self: Box<Self>, _: &str, _: &str, _: Option<Arc<[u8]>>) -> Result<(), TransportError> {
        Err(lost())
    }
}

/// The right to settle one delivery.
struct Token {
    shared: Arc<Shared>,
    consumer: u64,
    delivery: u64,
    used: bool,
}

impl Token {
    /// Ends the delivery, and lets `effect` do with it what is to be done.
    fn finish(&mut self, effect: impl FnOnce(&mut BusState, Unsettled)) -> Result<(), TransportError> {
        self.used = true;
        let mut state = self.shared.lock();
        let connection = state.consumers.get(&self.consumer).map(|consumer| consumer.connection);
        let fault = state.meets_fault();
        let mut found = true;
        if fault != Some(false) {
            match state.settle(self.consumer, self.delivery) {
                Some(unsettled) => effect(&mut state, unsettled),
                None => found = false,
            }
            state.feed(self.consumer);
        }
        if fault.is_some() {
            let consumers = state.consumers.iter().filter(|(_, consumer)| Some(consumer.connection) == connection);
            let of_it: Vec<u64> = consumers.map(|(id, _)| *id).collect();
            of_it.into_iter().for_each(|consumer| state.reconnect(consumer));
        }
        if found && fault.is_none() { Ok(()) } else { Err(lost()) }
    }
}

impl sealed::Sealed for Token {}

impl Settle for Token {
    fn ack(mut self: Box<Self>) -> Result<(), TransportError> {
        self.finish(|state, unsettled| {
            if let Some(queue) = state.queues.get(&unsettled.queue) {
                queue.release_room();
            }
        })
    }

    fn retry(mut self: Box<Self>) -> Result<(), TransportError> {
        self.finish(|state, unsettled| {
            let Unsettled { queue: id, mut message, .. } = unsettled;
            message.tries += 1;
            message.age = state.number();
            if let Some(queue) = state.queues.get_mut(&id) {
                queue.fresh.push_back(message);
            }
            state.dispatch(id);
        })
    }

    fn bury(mut self: Box<Self>, topic: &str, reason: &str, body: Option<Arc<[u8]>>) -> Result<(), TransportError> {
        let dead = Address::Dead { topic: topic.into() };
        self.finish(|state, unsettled| {
            if let Some(queue) = state.queues.get(&unsettled.queue) {
                queue.release_room();
            }
            let id = state.declare(&dead);
            let (limit, age) = (state.limit, state.number());
            let mut message = unsettled.message;
            (message.age, message.expires, message.reason) = (age, None, Some(reason.into()));
            message.body = body.unwrap_or(message.body);
            if let Some(queue) = state.queues.get_mut(&id) {
                queue.fresh.push_back(message);
                if queue.len() > limit {
                    // The newest say more about what is wrong now.
                    queue.fresh.pop_front();
                }
            }
            state.dispatch(id);
        })
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        let mut state = self.shared.lock();
        if let Some(unsettled) = state.settle(self.consumer, self.delivery) {
            let queue = unsettled.queue;
            state.give_back(unsettled);
            state.dispatch(queue);
            state.feed(self.consumer);
        }
    }
}
