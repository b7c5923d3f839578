//! The program `greenloom`, asked about this very process.

use std::process::Command;

use greenloom_inspect::{Frame, Group, Hub, Program, Server, Settings, Stacks, State, Thread};

struct Told;

impl Program for Told {
    fn language(&self) -> &'static str {
        "rust"
    }

    fn hubs(&mut self) -> Vec<Hub> {
        vec![Hub { os_thread: "main".into(), waits: true, switches: 7, ..Hub::default() }]
    }

    fn stacks(&mut self) -> Stacks {
        let frame = Frame { file: "pool.rs".into(), line: 63, function: "take".into() };
        let examples = vec![Thread { hub: 0, number: 9 }];
        let group = Group { state: State::Waits, stack: vec![frame], count: 2, examples, ..Group::default() };
        Stacks { total: 2, groups: vec![group], ..Stacks::default() }
    }

    fn kill(&mut self, thread: Thread) -> Result<String, String> {
        Ok(format!("{thread} unwinds"))
    }
}

/// Its exit status, and what it prints and complains.
fn greenloom(words: &str) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_greenloom")).args(words.split(' ')).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn each_command_prints_what_the_program_tells() {
    let _server = Server::start(Told, Settings::new()).unwrap();
    let pid = std::process::id();
    let (status, said, _) = greenloom(&format!("stacks {pid}"));
    let rest = "hub 0 (main) waits, 7 switches, 0 turns, longest block 0.0 ms, longest timer lag 0.0 ms\n\
                2 green threads at 1 place\n\n2 waiting, such as 0:9\n    pool.rs:63 take\n";
    assert_eq!((status, said.split_once('\n').unwrap().1), (Some(0), rest));
    let (status, said, _) = greenloom(&format!("stacks {pid} --json"));
    let seen: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &seen["stacks"]["groups"][0]["stack"][0]["line"]), (Some(0), &63.into()));
    let (status, said, _) = greenloom(&format!("metrics {pid}"));
    assert_eq!((status, said.ends_with("\n# EOF\n")), (Some(0), true));
    let (status, said, _) = greenloom(&format!("kill {pid} 0:9 --yes"));
    assert_eq!((status, said.as_str()), (Some(0), "0:9 unwinds\n"));
}

#[test]
fn a_process_that_tells_nothing_is_told_how_to() {
    let (status, said, complaints) = greenloom("stacks 1");
    assert_eq!((status, said.as_str()), (Some(1), ""));
    assert!(complaints.starts_with("greenloom: process 1 cannot be looked into"), "{complaints}");
}
