//! Brokers that are silent, that stall, refuse, or do not keep to the protocol: whoever waits hears of it in their own
//! time, and what is wrong with one message hurts no other.

mod fake;

mod limits;
mod protocol;
mod refusals;
mod together;
mod undecodable;
