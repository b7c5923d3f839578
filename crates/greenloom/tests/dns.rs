//! Names to addresses.
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use common::millis;
use greenloom::net::{ToSocketAddrs, connect, listen, resolve};
use greenloom::{get_hub, sleep, spawn};

fn all(name: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    Ok(name.to_socket_addrs()?.collect())
}

/// Runs `f` where nothing can wait.
fn in_the_hub<R: 'static>(f: impl FnOnce() -> R + 'static) -> R {
    let place = Rc::new(RefCell::new(None));
    let result = place.clone();
    get_hub().schedule_call_global(Duration::ZERO, move || *result.borrow_mut() = Some(f()));
    sleep(millis(1));
    place.take().unwrap()
}

#[test]
fn numbers_are_not_looked_up() {
    let expected = vec![SocketAddr::from(([127, 0, 0, 1], 80))];
    let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    in_the_hub(move || {
        assert_eq!(all("127.0.0.1:80").unwrap(), expected);
        assert_eq!(all("127.0.0.1:80".to_owned()).unwrap(), expected);
        assert_eq!(all(("127.0.0.1", 80)).unwrap(), expected);
        assert_eq!(all(("127.0.0.1".to_owned(), 80)).unwrap(), expected);
        assert_eq!(all((v4, 80)).unwrap(), expected);
        assert_eq!(all((IpAddr::from(v4), 80)).unwrap(), expected);
        assert_eq!(all(&expected[..]).unwrap(), expected);
        assert_eq!(all("[::1]:80").unwrap(), [SocketAddr::from((v6, 80))]);
        assert_eq!(all(("::1", 80)).unwrap(), [SocketAddr::from((v6, 80))]);
        assert_eq!(resolve("127.0.0.1").unwrap(), [IpAddr::from(v4)]);
    });
}

#[test]
fn names_are_looked_up_on_the_blocking_pool() {
    let addresses = all("localhost:80").unwrap();
    assert!(!addresses.is_empty());
    assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
    let refused = in_the_hub(|| all("localhost:80").unwrap_err().kind());
    assert_eq!(refused, ErrorKind::Unsupported);
}

#[test]
fn each_host_address_comes_once() {
    let mut addresses = resolve("localhost").unwrap();
    assert!(addresses.contains(&IpAddr::from(Ipv4Addr::LOCALHOST)) || addresses.contains(&Ipv6Addr::LOCALHOST.into()));
    let before = addresses.len();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), before);
}

#[test]
fn what_is_no_address_is_an_error() {
    assert_eq!(all("127.0.0.1").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(all("localhost:http").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn one_connects_by_name() {
    let listener = listen("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = spawn(move || connect(("localhost", port)).unwrap());
    listener.accept().unwrap();
    client.wait().unwrap();
}
