//! What a bus consists of: queues, their messages, and who takes them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use greenloom::hub::now;
use greenloom::queue::Queue as GreenQueue;
use greenloom::sync::{Event, Semaphore};

use super::faults::Faults;
use crate::hash::HashMap;
use crate::random::Random;
use crate::transport::Address;

pub(super) struct Shared {
    state: Mutex<BusState>,
    /// Whether messages are in envelopes, as on a broker.
    pub wire: bool,
}

pub(super) struct BusState {
    /// The beginning of its time, if several hubs share it: each of them has a clock of its own.
    clock: Option<Instant>,
    pub limit: usize,
    pub faults: Faults,
    pub random: Random,
    pub routes: HashMap<Address, Vec<u64>>,
    pub queues: BTreeMap<u64, Queue>,
    pub consumers: BTreeMap<u64, Consumer>,
    /// For queues, consumers, messages and deliveries alike.
    pub next: u64,
    /// How many outages are under way.
    pub outages: usize,
    /// Sent when they are over.
    pub up: Arc<Event<()>>,
}

pub(super) struct Queue {
    pub name: Arc<str>,
    /// Messages that were never out.
    pub fresh: VecDeque<Message>,
    /// Messages that came back, by age.
    pub returned: BTreeMap<u64, Message>,
    pub consumers: Vec<u64>,
    /// Whose turn it is.
    pub turn: usize,
    /// Room for further messages. The queues of callers and of dead letters have no limit of this kind.
    pub room: Option<Arc<Semaphore>>,
}

pub(super) struct Message {
    pub body: Arc<[u8]>,
    pub age: u64,
    pub tries: u32,
    pub expires: Option<Duration>,
    pub reason: Option<String>,
}

pub(super) struct Consumer {
    pub connection: u64,
    /// What waits to be handed out.
    pub inbox: Arc<GreenQueue<Delivered>>,
    pub prefetch: usize,
    pub queues: Vec<u64>,
    /// Queues that go when it goes.
    pub own: Vec<Address>,
    pub unsettled: HashMap<u64, Unsettled>,
    /// Whether a message is settled when it is handed out.
    pub settled_at_once: bool,
    pub stopped: bool,
}

pub(super) struct Unsettled {
    pub queue: u64,
    pub message: Message,
    /// Whether it was handed out, or only fetched.
    pub out: bool,
}

pub(super) enum Delivered {
    /// The number of a delivery that is to be settled.
    Message(u64),
    /// One that is settled when it is handed out: the queue, its name and the message.
    Settled(u64, Arc<str>, Message),
    /// The connection was lost.
    Lost,
}

impl Shared {
    pub fn new(limit: usize, clock: Option<Instant>, faults: Faults) -> Shared {
        let state = BusState {
            clock,
            limit,
            random: Random::from_seed(faults.seed),
            faults,
            routes: HashMap::default(),
            queues: BTreeMap::new(),
            consumers: BTreeMap::new(),
            next: 0,
            outages: 0,
            up: Arc::new(Event::new()),
        };
        Shared { state: Mutex::new(state), wire: false }
    }

    pub fn lock(&self) -> MutexGuard<'_, BusState> {
        // Its holders call nothing that panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends one outage.
    pub fn restore(&self) {
        let mut state = self.lock();
        state.outages -= 1;
        if state.outages > 0 {
            return;
        }
        let _ = state.up.send(());
        let all: Vec<u64> = state.queues.keys().copied().collect();
        all.into_iter().for_each(|queue| state.dispatch(queue));
    }
}

impl BusState {
    pub fn now(&self) -> Duration {
        self.clock.map_or_else(now, |began| began.elapsed())
    }

    /// A moment on the clock of the hub that runs.
    pub fn on_its_clock(&self, at: Duration) -> Duration {
        match self.clock {
            None => at,
            Some(began) => began.elapsed().saturating_add(at.saturating_sub(now())),
        }
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The queue of an address; a fanout gets another one for each listener.
    pub fn declare(&mut self, address: &Address) -> u64 {
        let known = self.routes.get(address).and_then(|queues| queues.first());
        if let (Some(queue), false) = (known, matches!(address, Address::Fanout { .. })) {
            return *queue;
        }
        let id = self.number();
        let limited = !matches!(address, Address::Reply { .. } | Address::Dead { .. });
        let queue = Queue {
            name: address.to_string().into(),
            fresh: VecDeque::new(),
            returned: BTreeMap::new(),
            consumers: Vec::new(),
            turn: 0,
            room: limited.then(|| Arc::new(Semaphore::new(self.limit))),
        };
        self.queues.insert(id, queue);
        self.routes.entry(address.clone()).or_default().push(id);
        id
    }

    pub fn remove(&mut self, address: &Address, id: u64) {
        if let Some(queues) = self.routes.get_mut(address) {
            queues.retain(|queue| *queue != id);
            if queues.is_empty() {
                self.routes.remove(address);
            }
        }
        let Some(queue) = self.queues.remove(&id) else { return };
        // Waiters for room find the queue gone.
        if let Some(room) = queue.room {
            (0..room.waiting()).for_each(|_| room.release());
        }
    }

    /// Adds a message to a queue in which it has room.
    pub fn push(&mut self, id: u64, body: Arc<[u8]>, expires: Option<Duration>) {
        let age = self.number();
        let lost = self.random.happens(self.faults.lose);
        let Some(queue) = self.queues.get_mut(&id) else { return };
        if lost {
            queue.release_room();
            return;
        }
        let message = Message { body, age, tries: 0, expires, reason: None };
        if queue.is_empty()
            && self.outages == 0
            && let Some(consumer) = self.free_consumer(id)
        {
            return self.deliver(consumer, id, message);
        }
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.fresh.push_back(message);
        }
        self.dispatch(id);
    }

    /// Gives a queue's messages to its consumers in turn, as long as one can take another.
    pub fn dispatch(&mut self, id: u64) {
        if self.outages > 0 {
            return;
        }
        while let Some(consumer) = self.taker(id) {
            let Some(message) = self.take(id) else { return };
            self.deliver(consumer, id, message);
        }
    }

    /// Gives a message of a queue to a consumer.
    fn deliver(&mut self, consumer: u64, queue: u64, message: Message) {
        let delivery = self.number();
        let Some(consumer) = self.consumers.get_mut(&consumer) else { return };
        let delivered = if consumer.settled_at_once {
            let Some(name) = self.queues.get(&queue).map(|queue| Arc::clone(&queue.name)) else { return };
            Delivered::Settled(queue, name, message)
        } else {
            consumer.unsettled.insert(delivery, Unsettled { queue, message, out: false });
            Delivered::Message(delivery)
        };
        // The inbox has no limit and is closed only after the consumer has gone.
        let _ = consumer.inbox.try_put(delivered);
    }

    /// The next consumer of a queue that can take a message, if there is one.
    fn taker(&mut self, id: u64) -> Option<u64> {
        if self.queues.get(&id)?.is_empty() { None } else { self.free_consumer(id) }
    }

    /// The next consumer of a queue that can take a message; it has had its turn then.
    fn free_consumer(&mut self, id: u64) -> Option<u64> {
        let queue = self.queues.get_mut(&id)?;
        let count = queue.consumers.len();
        let free = |consumer: &&u64| self.consumers.get(consumer).is_some_and(Consumer::can_take);
        let position = (0..count).map(|step| (queue.turn + step) % count).find(|at| free(&&queue.consumers[*at]))?;
        queue.turn = position + 1;
        Some(queue.consumers[position])
    }

    /// The next message of a queue that has not expired.
    fn take(&mut self, id: u64) -> Option<Message> {
        loop {
            let out_of_order = self.random.happens(self.faults.reorder);
            let queue = self.queues.get_mut(&id)?;
            let message = if out_of_order && !queue.fresh.is_empty() {
                let at = self.random.below(queue.fresh.len().min(8));
                queue.fresh.remove(at)?
            } else {
                queue.returned.pop_first().map(|(_, message)| message).or_else(|| queue.fresh.pop_front())?
            };
            match message.expires {
                Some(expires) if self.now() >= expires => {}
                _ => return Some(message),
            }
            self.queues.get(&id)?.release_room();
        }
    }

    /// Ends a delivery; nothing if it has come back meanwhile.
    pub fn settle(&mut self, consumer: u64, delivery: u64) -> Option<Unsettled> {
        let holder = self.consumers.get_mut(&consumer)?;
        let unsettled = holder.unsettled.remove(&delivery)?;
        if holder.stopped && holder.unsettled.is_empty() {
            self.consumers.remove(&consumer);
        }
        Some(unsettled)
    }

    /// Lets a consumer have more, after it has settled something. One that could have had more before has it.
    pub fn feed(&mut self, consumer: u64) {
        let was_full = |holder: &&Consumer| holder.unsettled.len() + 1 == holder.prefetch;
        let Some(holder) = self.consumers.get(&consumer).filter(was_full) else { return };
        for at in 0..holder.queues.len() {
            let Some(queue) = self.consumers.get(&consumer).and_then(|holder| holder.queues.get(at)).copied() else {
                return;
            };
            if self.queues.get(&queue).is_some_and(|queue| !queue.is_empty()) {
                self.dispatch(queue);
            }
        }
    }

    /// Puts a message back where it was among the others.
    pub fn give_back(&mut self, unsettled: Unsettled) {
        let Unsettled { queue, mut message, out } = unsettled;
        message.tries += u32::from(out);
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.returned.insert(message.age, message);
        }
    }

    /// A consumer's connection was lost: all it has goes back, and it is told.
    pub fn cut_consumer(&mut self, id: u64) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let mut unsettled: Vec<Unsettled> = std::mem::take(&mut consumer.unsettled).into_values().collect();
        while let Ok(delivered) = consumer.inbox.try_get() {
            if let Delivered::Settled(queue, _, message) = delivered {
                unsettled.push(Unsettled { queue, message, out: false });
            }
        }
        let _ = consumer.inbox.try_put(Delivered::Lost);
        if consumer.stopped {
            self.consumers.remove(&id);
        }
        unsettled.into_iter().for_each(|unsettled| self.give_back(unsettled));
    }

    /// Decides whether an operation meets a lost connection, and whether it has its effect.
    pub fn meets_fault(&mut self) -> Option<bool> {
        self.random.happens(self.faults.cut).then(|| self.random.happens(0.5))
    }

    pub fn stop_consumer(&mut self, id: u64) {
        let Some(consumer) = self.consumers.get_mut(&id).filter(|consumer| !consumer.stopped) else { return };
        consumer.stopped = true;
        consumer.inbox.close();
        let queues = std::mem::take(&mut consumer.queues);
        let own = std::mem::take(&mut consumer.own);
        let unsettled = std::mem::take(&mut consumer.unsettled);
        let (out, fetched): (HashMap<_, _>, HashMap<_, _>) =
            unsettled.into_iter().partition(|(_, unsettled)| unsettled.out);
        consumer.unsettled = out;
        if consumer.unsettled.is_empty() {
            self.consumers.remove(&id);
        }
        for queue in &queues {
            if let Some(queue) = self.queues.get_mut(queue) {
                queue.consumers.retain(|consumer| *consumer != id);
            }
        }
        fetched.into_values().for_each(|unsettled| self.give_back(unsettled));
        for address in own {
            let of_it: Vec<u64> = self.routes.get(&address).into_iter().flatten().copied().collect();
            of_it.into_iter().filter(|queue| queues.contains(queue)).for_each(|queue| self.remove(&address, queue));
        }
        queues.into_iter().for_each(|queue| self.dispatch(queue));
    }
}

impl Queue {
    pub fn len(&self) -> usize {
        self.fresh.len() + self.returned.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.returned.is_empty()
    }

    pub fn release_room(&self) {
        if let Some(room) = &self.room {
            room.release();
        }
    }
}

impl Consumer {
    pub fn can_take(&self) -> bool {
        !self.stopped && (self.prefetch == 0 || self.unsettled.len() < self.prefetch)
    }
}

impl BusState {
    /// Cuts a consumer off, and lets it and the others have what it had.
    pub fn reconnect(&mut self, consumer: u64) {
        let queues: Vec<u64> = self.consumers.get(&consumer).map_or_else(Vec::new, |consumer| {
            let held = consumer.unsettled.values().map(|unsettled| unsettled.queue);
            consumer.queues.iter().copied().chain(held).collect()
        });
        self.cut_consumer(consumer);
        queues.into_iter().for_each(|queue| self.dispatch(queue));
    }
}
