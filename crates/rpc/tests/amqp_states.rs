//! Frames against states: whatever a broker says, in whatever order, each message, confirm and consumer ends as the
//! protocol has it, and nobody waits for ever. The fuzz target `amqp_connection` runs the same programs.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[path = "support/connection/mod.rs"]
mod connection;
#[path = "support/seeds.rs"]
mod seeds;

#[test]
fn the_seeds_of_the_fuzz_target_do_as_the_model_says() {
    for (name, program) in seeds::read("amqp_connection") {
        let outcome = std::panic::catch_unwind(|| connection::run(&program));
        assert!(outcome.is_ok(), "the seed {name} failed");
    }
}

/// Programs of whole messages and of single steps, on both channels and sometimes elsewhere.
fn program() -> impl Strategy<Value = String> {
    let channel = || prop_oneof![8 => Just(1u8), 4 => Just(2u8), 1 => Just(0u8)];
    let step = (select(b"dDrhbaAnNzckqTRPC".to_vec()), channel(), 0..9u8)
        .prop_map(|(what, channel, number)| format!("{}{channel}{number} ", char::from(what)));
    let delivery = (channel(), 1..3u8, 0..9u8, 0..9u8).prop_map(|(channel, consumer, size, first)| {
        let first = first.min(size);
        let rest = size - first;
        let body = if size == 0 { String::new() } else { format!("b{channel}{first} b{channel}{rest} ") };
        // A message of which all has come takes no more pieces.
        let body = if rest == 0 && size > 0 { format!("b{channel}{size} ") } else { body };
        format!("d{channel}{consumer} h{channel}{size} {body}")
    });
    let returned = (channel(), 1..6u8).prop_map(|(channel, number)| format!("r{channel}{number} h{channel}0 "));
    let confirm = (select(b"aAnN".to_vec()), channel(), 0..7u8)
        .prop_map(|(what, channel, number)| format!("{}{channel}{number} ", char::from(what)));
    let client =
        (select(b"TTRPC".to_vec()), 1..3u8).prop_map(|(what, channel)| format!("{}{channel}0 ", char::from(what)));
    let aside = (select(b"lup".to_vec())).prop_map(|what| format!("{}00 ", char::from(what)));
    let any = prop_oneof![1 => step, 6 => delivery, 3 => returned, 6 => confirm, 8 => client, 1 => aside];
    (prop_oneof![2 => Just(String::new()), 1 => (0..8u8).prop_map(|size| format!("s0{size} "))], vec(any, 0..40))
        .prop_map(|(pieces, steps)| pieces + &steps.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_broker_says_ends_as_the_model_says(program in program()) {
        connection::run(program.as_bytes());
    }

    #[test]
    fn any_bytes_are_a_program(bytes in vec(any::<u8>(), 0..60)) {
        connection::run(&bytes);
    }
}
