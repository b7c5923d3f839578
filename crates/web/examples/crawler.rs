//! A crawler: reads a page and all pages of the same site that can be reached from it, eight at a time, until Ctrl-C.
//! What may go better later is tried again.
//!
//!     cargo run -p greenloom-web --example crawler -- http://127.0.0.1:8080/

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use greenloom::pool::GreenPool;
use greenloom::select::Select;
use greenloom::signal::{Signal, Signals};
use greenloom::{JoinSet, sleep, spawn};
use greenloom_web::client;
use greenloom_web::client::ureq::{self, Agent};
use greenloom_web::http::Uri;

const AT_ONCE: usize = 8;
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(10);

/// What came of each page so far: its length, or why there is none.
pub type Pages = Rc<RefCell<BTreeMap<String, Result<usize, String>>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let url: Uri = std::env::args().nth(1).ok_or("usage: crawler URL")?.parse()?;
    let signals = Signals::new([Signal::INT, Signal::TERM])?;
    let pages = Pages::default();
    let signal = crawl(&url, &pages, &signals)?;
    for (path, outcome) in &*pages.borrow() {
        match outcome {
            Ok(length) => println!("{path}: {length} bytes"),
            Err(reason) => println!("{path}: {reason}"),
        }
    }
    if let Some(signal) = signal {
        println!("{signal}: there may be more");
    }
    Ok(())
}

/// Crawls until everything was read, or until a signal comes, which it returns.
pub fn crawl(url: &Uri, pages: &Pages, signals: &Signals) -> io::Result<Option<Signal>> {
    let (url, pages) = (url.clone(), Rc::clone(pages));
    let crawling = spawn(move || follow(&url, &pages));
    let signal = Select::new().end(&crawling, || Ok(None)).signal(signals, |signal| signal.map(Some)).wait()?;
    // It unwinds, with all that it has started.
    crawling.kill();
    Ok(signal)
}

fn follow(url: &Uri, pages: &Pages) {
    let agent = client::agent_with(Agent::config_builder().timeout_global(Some(LIMIT)).build());
    let site = format!("{}://{}", url.scheme_str().unwrap_or("http"), url.authority().map_or("", |host| host.as_str()));
    let pool = GreenPool::new(AT_ONCE);
    let mut reading = JoinSet::new();
    let mut found = vec![url.path().to_owned()];
    let mut seen: HashSet<String> = found.iter().cloned().collect();
    loop {
        for path in found.drain(..) {
            let (agent, url) = (agent.clone(), format!("{site}{path}"));
            reading.insert(pool.spawn(move || (path, read(&agent, &url))));
        }
        match reading.join_next() {
            None => return,
            // Its panic was reported.
            Some(Err(_)) => {}
            Some(Ok((path, text))) => {
                found.extend(text.iter().flat_map(|text| links(text)).filter(|link| seen.insert(link.clone())));
                let outcome = text.map(|text| text.len()).map_err(|error| error.to_string());
                pages.borrow_mut().insert(path, outcome);
            }
        }
    }
}

/// Reads a page, with pauses that double between tries.
fn read(agent: &Agent, url: &str) -> Result<String, ureq::Error> {
    let (mut tries, mut pause) = (1, FIRST_PAUSE);
    loop {
        let text = agent.get(url).call().and_then(|mut response| response.body_mut().read_to_string());
        match text {
            Err(error) if tries < TRIES && may_pass(&error) => {
                sleep(pause);
                tries += 1;
                pause *= 2;
            }
            text => return text,
        }
    }
}

fn may_pass(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::StatusCode(status) => *status == 429 || *status >= 500,
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

/// The links to other pages of the site, as a page writes them that is kind to crawlers.
fn links(text: &str) -> impl Iterator<Item = String> {
    let targets = text.split("href=\"").skip(1).filter_map(|rest| rest.split(['"', '#']).next());
    targets.filter(|target| target.starts_with('/') && !target.starts_with("//")).map(str::to_owned)
}
