//! Services: hooks, loops, stop, restart, signals.

#[path = "../../greenloom/tests/common/mod.rs"]
mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{in_a_process_of_its_own, passes, simulate};
use greenloom::signal::Signal;
use greenloom::{Chain, hub::now, sleep, spawn};
use greenloom_rpc::{Client, Endpoint, Error, Failure, Hook, Manager, Report, Service, Target, create_connection};

const SECOND: Duration = Duration::from_secs(1);

/// Writes down what happens to it.
#[derive(Clone, Default)]
struct Agent {
    log: Rc<RefCell<Vec<String>>>,
    refuses: bool,
    in_work: Rc<Cell<u32>>,
}

impl Agent {
    fn note(&self, what: impl Into<String>) {
        self.log.borrow_mut().push(what.into());
    }

    fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    fn log_without(&self, what: &str) -> Vec<String> {
        self.log().into_iter().filter(|line| line != what).collect()
    }
}

impl Manager for Agent {
    fn endpoints(self: Rc<Self>) -> Vec<Endpoint> {
        let endpoint = Endpoint::of(&self)
            .method("nap", |agent: &Agent, _, ()| {
                agent.in_work.set(agent.in_work.get() + 1);
                sleep(10 * SECOND);
                agent.note("napped");
                Ok("napped")
            })
            .method("ping", |_: &Agent, _, ()| Ok("pong"));
        vec![endpoint.build()]
    }

    fn init_host(&self, service: &Service) -> Hook {
        assert!(service.connection().is_none());
        self.note("init_host");
        Ok(())
    }

    fn initialize_service_hook(&self, service: &Service) -> Hook {
        assert!(service.connection().is_some());
        self.note("initialize_service_hook");
        if self.refuses { Err("not today".into()) } else { Ok(()) }
    }

    fn after_start(self: Rc<Self>, service: &Service) {
        self.note("after_start");
        service.spawn("loop", move || {
            loop {
                sleep(7 * SECOND);
                self.note("loop");
            }
        });
    }

    fn report_state(&self, report: &Report) {
        self.note(format!("report {} {} at {:?}", report.binary, report.restarts, report.uptime));
    }

    fn periodic(&self, _: &Service) {
        self.note(format!("periodic at {:?}", now()));
    }

    fn before_stop(&self) {
        self.note("before_stop");
    }

    fn reset(&self) {
        self.note("reset");
    }
}

fn client() -> Client {
    Client::new(&create_connection("memory://").unwrap(), Target::topic("topic"))
}

#[test]
fn hooks_and_loops_run_in_order_and_end_with_the_service() {
    simulate(|| {
        let agent = Agent::default();
        let service = Service::builder("agent", "topic", Rc::new(agent.clone()))
            .report_interval(3 * SECOND)
            .periodic_interval(4 * SECOND)
            .build();
        service.start().unwrap();
        service.start().unwrap();
        sleep(8 * SECOND + SECOND / 2);
        service.stop();
        service.stop();
        sleep(60 * SECOND);
        let expected = [
            "init_host",
            "initialize_service_hook",
            "after_start",
            "report agent 0 at 0ns",
            "report agent 0 at 3s",
            "periodic at 4s",
            "report agent 0 at 6s",
            "loop",
            "periodic at 8s",
            "before_stop",
        ];
        assert_eq!(agent.log(), expected);
        assert!(service.connection().is_none());
    });
}

#[test]
fn a_hook_that_fails_keeps_it_from_starting() {
    simulate(|| {
        let agent = Agent { refuses: true, ..Agent::default() };
        let service = Service::builder("agent", "topic", Rc::new(agent.clone())).report_interval(SECOND).build();
        let error = service.start().unwrap_err();
        assert_eq!(Chain(&error).to_string(), "the hook initialize_service_hook failed: not today");
        sleep(5 * SECOND);
        assert_eq!(agent.log(), ["init_host", "initialize_service_hook"]);
        assert!(service.connection().is_none());
    });
}

#[test]
fn a_bus_that_is_none_is_an_error() {
    simulate(|| {
        let start = |url: &str| {
            Service::builder("a", "t", Rc::new(Agent::default())).report_interval(SECOND).transport(url).build().start()
        };
        for url in ["carrier-pigeon://", "memory", "memory://?limit=none", "memory://?speed=9"] {
            assert!(matches!(start(url), Err(Error::Transport(_))), "{url}");
        }
    });
}

#[test]
fn a_stop_lets_the_requests_in_work_end() {
    simulate(|| {
        let agent = Agent::default();
        let service = Service::builder("agent", "topic", Rc::new(agent.clone())).build();
        service.start().unwrap();
        let caller = spawn(|| client().call::<String>("nap", &()).unwrap());
        sleep(SECOND);
        service.stop();
        assert_eq!(now(), 10 * SECOND);
        assert_eq!(caller.wait().unwrap(), "napped");
        let log = agent.log_without("loop");
        assert_eq!(log[log.len() - 2..], ["before_stop", "napped"]);
    });
}

#[test]
fn what_is_not_done_in_time_goes_back_to_the_bus() {
    simulate(|| {
        let url = "memory://";
        let keeps_the_bus = create_connection(url).unwrap();
        let agent = Agent::default();
        let service = Service::builder("agent", "topic", Rc::new(agent)).graceful_timeout(2 * SECOND).build();
        service.start().unwrap();
        client().cast("nap", &()).unwrap();
        sleep(SECOND);
        service.stop();
        assert_eq!(now(), 3 * SECOND);
        // Another one takes it over.
        let other = Agent::default();
        let service = Service::builder("agent", "topic", Rc::new(other.clone())).build();
        service.start().unwrap();
        sleep(SECOND);
        assert_eq!(other.in_work.get(), 1);
        drop(keeps_the_bus);
    });
}

#[test]
fn what_is_given_back_goes_to_another() {
    struct Unwilling;
    impl Manager for Unwilling {
        fn endpoints(self: Rc<Self>) -> Vec<Endpoint> {
            let nap = |_: &(), _: &_, ()| {
                sleep(SECOND);
                Err::<(), _>(Failure::give_back())
            };
            vec![Endpoint::builder().method("nap", nap).build()]
        }
    }
    simulate(|| {
        let client = client();
        let unwilling = Service::builder("agent", "topic", Rc::new(Unwilling)).build();
        unwilling.start().unwrap();
        let caller = spawn(move || client.call::<String>("nap", &()).unwrap());
        sleep(SECOND / 2);
        unwilling.stop();
        let service = Service::builder("agent", "topic", Rc::new(Agent::default())).build();
        service.start().unwrap();
        assert_eq!(caller.wait().unwrap(), "napped");
        assert_eq!(now(), 11 * SECOND);
    });
}

#[test]
fn a_restart_keeps_what_comes_meanwhile() {
    simulate(|| {
        let agent = Agent::default();
        let service = Service::builder("agent", "topic", Rc::new(agent.clone())).build();
        service.start().unwrap();
        let client = client();
        let napping = client.clone();
        let caller = spawn(move || napping.call::<String>("nap", &()).unwrap());
        sleep(SECOND);
        let restarting = service.clone();
        let restart = spawn(move || restarting.restart());
        sleep(SECOND);
        // It waits for the nap; this call comes after that.
        assert_eq!(client.call::<String>("ping", &()).unwrap(), "pong");
        assert_eq!(now(), 10 * SECOND);
        caller.wait().unwrap();
        restart.wait().unwrap().unwrap();
        assert_eq!(service.report().restarts, 1);
        let log = agent.log_without("loop");
        let expected = ["before_stop", "napped", "reset", "init_host", "initialize_service_hook", "after_start"];
        assert_eq!(log[log.len() - 6..], expected);
        service.stop();
    });
}

#[test]
fn a_periodic_task_that_panics_or_takes_long_goes_on() {
    simulate(|| {
        let times: Rc<RefCell<Vec<u64>>> = Rc::default();
        let service = Service::builder("agent", "topic", Rc::new(Agent::default())).build();
        service.start().unwrap();
        let seen = times.clone();
        service.every("task", SECOND, 2 * SECOND, move || {
            let at = now().as_secs();
            seen.borrow_mut().push(at);
            match at {
                1 => panic!("broken"),
                3 => sleep(5 * SECOND),
                _ => {}
            }
        });
        sleep(11 * SECOND + SECOND / 2);
        service.stop();
        assert_eq!(times.take(), [1, 3, 8, 10]);
    });
}

#[test]
fn a_loop_can_stop_or_restart_its_service_and_ends_with_it() {
    for restart in [false, true] {
        simulate(move || {
            let agent = Agent::default();
            let service = Service::builder("agent", "topic", Rc::new(agent.clone())).build();
            service.start().unwrap();
            let calls = Rc::new(Cell::new(0));
            let (counted, stopping) = (calls.clone(), service.clone());
            service.every("stops it", SECOND, SECOND, move || {
                counted.set(counted.get() + 1);
                if restart { stopping.restart().unwrap() } else { stopping.stop() }
            });
            sleep(60 * SECOND);
            assert_eq!((calls.get(), service.report().restarts), (1, u32::from(restart)));
            assert_eq!(service.connection().is_some(), restart);
            service.stop();
        });
    }
}

#[test]
fn wait_returns_when_somebody_stops_it() {
    let service = Service::builder("agent", "topic", Rc::new(Agent::default())).build();
    let stopping = service.clone();
    let stop = spawn(move || {
        sleep(Duration::from_millis(5));
        stopping.stop();
    });
    assert_eq!(service.run().unwrap(), None);
    stop.wait().unwrap();
}

fn signal(child: &greenloom::process::Child, name: &str) {
    let status = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Runs `body_of_a_signalled_service` in a process of its own, sends it a signal at each line that it prints, and
/// returns its output.
fn signalled(signals: &[&str]) -> String {
    use std::io::{BufRead, BufReader, Read};
    let mut child = in_a_process_of_its_own("body_of_a_signalled_service").spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    for name in signals {
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "{text}");
            text += &line;
        }
        signal(&child, name);
    }
    output.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    text
}

#[test]
#[ignore = "run by the tests of signals, in a process of its own"]
fn body_of_a_signalled_service() {
    struct Signalled;
    impl Manager for Signalled {
        fn endpoints(self: Rc<Self>) -> Vec<Endpoint> {
            let nap = |_: &(), _: &_, ()| {
                println!("ready: napping");
                sleep(Duration::from_millis(200));
                println!("napped");
                Ok(())
            };
            vec![Endpoint::builder().method("nap", nap).build()]
        }

        fn after_start(self: Rc<Self>, service: &Service) {
            let restarts = service.report().restarts;
            println!("ready: start {restarts}");
            if restarts == 1 {
                let client = Client::new(&service.connection().unwrap(), Target::topic("topic"));
                client.cast("nap", &()).unwrap();
            }
        }
    }
    let service = Service::builder("agent", "topic", Rc::new(Signalled)).build();
    let signal = service.run().unwrap();
    println!("stopped by {signal:?}");
}

#[test]
fn sigterm_stops_it() {
    let text = signalled(&["-TERM"]);
    assert!(text.contains("stopped by Some(SIGTERM)"), "{text}");
    assert_eq!(Signal::TERM.to_string(), "SIGTERM");
}

#[test]
fn sighup_restarts_it_and_sigint_lets_the_work_end() {
    // At the first start, at the second, and when it naps.
    let text = signalled(&["-HUP", "-CONT", "-INT"]);
    for part in ["ready: start 0", "ready: start 1", "napped", "stopped by Some(SIGINT)"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_second_signal_stops_it_at_once() {
    passes("a_second_signal_ends_the_wait_for_the_work");
}

#[test]
#[ignore = "run in a process of its own, since it signals itself"]
fn a_second_signal_ends_the_wait_for_the_work() {
    let service = Service::builder("agent", "topic", Rc::new(Agent::default())).build();
    let started = service.clone();
    let signals = spawn(move || {
        let me = std::process::id().to_string();
        let signal = || std::process::Command::new("kill").args(["-TERM", &me]).status().unwrap();
        sleep(Duration::from_millis(20));
        let connection = started.connection().unwrap();
        Client::new(&connection, Target::topic("topic")).cast("nap", &()).unwrap();
        sleep(Duration::from_millis(20));
        signal();
        sleep(Duration::from_millis(100));
        assert!(started.connection().is_some(), "it waits for the nap");
        signal();
    });
    let began = std::time::Instant::now();
    assert_eq!(service.run().unwrap(), Some(Signal::TERM));
    assert!(began.elapsed() < 5 * SECOND);
    signals.wait().unwrap();
}

#[test]
fn times_longer_than_any_clock_saturate() {
    simulate(|| {
        for forever in [Duration::MAX, Duration::from_millis(u64::MAX)] {
            let agent = Agent::default();
            let builder = Service::builder("agent", "topic", Rc::new(agent.clone()));
            let service = builder.graceful_timeout(forever).report_interval(forever).periodic_interval(forever).build();
            service.start().unwrap();
            service.every("never", forever, forever, || panic!("forever is over"));
            service.every("once", Duration::ZERO, forever, {
                let agent = agent.clone();
                move || agent.note("once")
            });
            let caller = spawn(|| client().call::<String>("nap", &()).unwrap());
            sleep(SECOND);
            service.stop();
            assert_eq!(caller.wait().unwrap(), "napped");
            assert_eq!(agent.log().iter().filter(|line| *line == "once").count(), 1);
        }
    });
}
