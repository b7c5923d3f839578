//! The examples do what they say.

#[allow(dead_code)]
#[path = "../examples/crawler.rs"]
mod crawler;

#[allow(dead_code)]
#[path = "../examples/greeter.rs"]
mod greeter;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use greenloom::process::Command;
use greenloom::signal::{Signal, Signals};
use greenloom::sync::Event;
use greenloom::{net, sleep, timeout};
use greenloom_web::client::ureq;
use greenloom_web::http::{Request, Response, StatusCode, Uri};
use greenloom_web::{Body, Incoming, Server, client};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn the_greeter_greets_and_counts() {
    let (server, address) = greeter::start("127.0.0.1:0").unwrap();
    let agent = client::agent();
    let get = |path: &str| agent.get(format!("http://{address}{path}")).call()?.body_mut().read_to_string();
    assert_eq!(get("/greet/world").unwrap(), "hello, world\n");
    assert!(matches!(get("/nothing"), Err(ureq::Error::StatusCode(404))));
    let metrics = get("/metrics").unwrap();
    for line in [r#"http_requests_total{status="200"} 1"#, r#"http_requests_total{status="404"} 1"#] {
        assert!(metrics.lines().any(|other| other == line), "{metrics}");
    }
    assert!(metrics.contains("http_request_seconds_count 2"), "{metrics}");
    let drained = server.shutdown(LONG);
    assert_eq!(drained.killed, 0);
}

/// A site whose pages are what `page` makes of their paths; the server, and the address of its first page.
fn site(page: impl Fn(&str) -> (StatusCode, String) + 'static) -> (Server, Uri) {
    let listener = net::listen("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let answer = move |request: Request<Incoming>| {
        let (status, text) = page(request.uri().path());
        Response::builder().status(status).body(Body::from(text)).unwrap()
    };
    (Server::start(listener, answer).unwrap(), url)
}

fn linking(to: impl IntoIterator<Item = String>) -> (StatusCode, String) {
    (StatusCode::OK, to.into_iter().map(|to| format!(r#"<a href="{to}">{to}</a>"#)).collect())
}

#[test]
fn the_crawler_reads_each_page_once_eight_at_a_time_and_tries_again_what_may_pass() {
    let asked: Rc<RefCell<BTreeMap<String, u32>>> = Rc::default();
    let (now, most) = (Cell::new(0), Rc::new(Cell::new(0)));
    let (counted, seen) = (Rc::clone(&asked), Rc::clone(&most));
    let (server, url) = site(move |path| {
        now.set(now.get() + 1);
        seen.set(now.get().max(seen.get()));
        sleep(Duration::from_millis(5));
        now.set(now.get() - 1);
        let tries = *counted.borrow_mut().entry(path.to_owned()).and_modify(|tries| *tries += 1).or_insert(1);
        match path {
            "/" => linking((0..20).map(|n| format!("/{n}")).chain(["/flaky".into(), "/broken".into(), "/none".into()])),
            "/flaky" if tries < 3 => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            "/broken" => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
            "/none" => (StatusCode::NOT_FOUND, String::new()),
            _ => linking(["/".into(), "/7#part".into(), "//elsewhere/".into(), "http://elsewhere/".into()]),
        }
    });
    let (pages, signals) = (crawler::Pages::default(), Signals::new([Signal::USR1]).unwrap());
    let signal = timeout(LONG, || crawler::crawl(&url, &pages, &signals)).expect("it ends").unwrap();
    assert_eq!(signal, None);
    let pages = pages.take();
    assert_eq!(pages.len(), 24);
    assert_eq!(pages["/none"].as_ref().unwrap_err(), "http status: 404");
    assert_eq!(pages["/broken"].as_ref().unwrap_err(), "http status: 500");
    assert!(pages.iter().all(|(path, outcome)| outcome.is_ok() != ["/none", "/broken"].contains(&&**path)));
    let asked = asked.take();
    let tries = |path: &str| asked[path];
    assert_eq!((tries("/flaky"), tries("/broken"), tries("/none"), tries("/7")), (3, 4, 1, 1));
    assert_eq!(most.get(), 8);
    assert_eq!(server.shutdown(LONG).killed, 0);
}

#[test]
fn the_crawler_stops_at_ctrl_c_with_what_it_has() {
    let (stuck, go_on) = (Rc::new(Event::new()), Rc::new(Event::new()));
    let (tell, wait) = (Rc::clone(&stuck), Rc::clone(&go_on));
    let (server, url) = site(move |path| {
        if path == "/stuck" {
            let _ = tell.send(());
            let _: Result<(), _> = wait.wait();
        }
        linking(["/stuck".into()])
    });
    let (pages, signals) = (crawler::Pages::default(), Signals::new([Signal::INT]).unwrap());
    let interrupting = greenloom::spawn(move || {
        stuck.wait().unwrap();
        let pid = std::process::id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -INT $0", &pid]).output().unwrap().status.success());
    });
    let signal = timeout(LONG, || crawler::crawl(&url, &pages, &signals)).expect("it ends").unwrap();
    assert_eq!(signal, Some(Signal::INT));
    assert_eq!(pages.take().into_keys().collect::<Vec<_>>(), ["/"]);
    interrupting.wait().unwrap();
    go_on.send(()).unwrap();
    assert_eq!(server.shutdown(LONG).killed, 0);
}
