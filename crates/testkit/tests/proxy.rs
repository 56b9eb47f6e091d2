//! The proxy treats connections according to its mode.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use weir_testkit::proxy::Mode;
use weir_testkit::{Proxy, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// A server that sends back what it gets.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                std::io::copy(&mut stream.try_clone().unwrap(), &mut stream)
            });
        }
    });
    address
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    stream.write_all(b"ping")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).map(|()| answer)
}

#[test]
fn bytes_pass_and_a_cut_ends_the_connection_but_not_the_next_one() {
    let proxy = Proxy::start(&echo()).unwrap();
    let mut stream = connect(&proxy);
    assert_eq!(&ask(&mut stream).unwrap(), b"ping");
    proxy.cut();
    wait_until("the cut", SOON, || ask(&mut stream).is_err().then_some(()));
    assert_eq!(&ask(&mut connect(&proxy)).unwrap(), b"ping");
}

#[test]
fn a_refusing_proxy_has_a_closed_port_and_opens_it_again() {
    let proxy = Proxy::start(&echo()).unwrap();
    let mut stream = connect(&proxy);
    assert_eq!(&ask(&mut stream).unwrap(), b"ping");
    proxy.set(Mode::Refuse);
    wait_until("the cut", SOON, || ask(&mut stream).is_err().then_some(()));
    wait_until("a closed port", SOON, || {
        TcpStream::connect(proxy.address()).is_err().then_some(())
    });
    proxy.set(Mode::Pass);
    wait_until("an open port", SOON, || TcpStream::connect(proxy.address()).ok());
    assert_eq!(&ask(&mut connect(&proxy)).unwrap(), b"ping");
}

#[test]
fn a_holding_proxy_loses_nothing_that_it_holds() {
    let proxy = Proxy::start(&echo()).unwrap();
    let mut stream = connect(&proxy);
    proxy.set(Mode::Hold);
    stream.write_all(b"ping").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.read(&mut [0; 4]).is_err(), "nothing comes back while it holds");
    proxy.set(Mode::Pass);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

#[test]
fn a_delaying_proxy_takes_its_time_in_both_directions() {
    let proxy = Proxy::start(&echo()).unwrap();
    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let (mut stream, start) = (connect(&proxy), Instant::now());
    assert_eq!(&ask(&mut stream).unwrap(), b"ping");
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_url_goes_through_the_proxy_with_user_and_path() {
    let target = echo();
    let (proxy, url) =
        Proxy::in_front_of(&format!("postgres://weir:secret@{target}/weir")).unwrap();
    assert_eq!(url, format!("postgres://weir:secret@{}/weir", proxy.address()));
}
