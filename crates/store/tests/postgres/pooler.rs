//! A connection pooler in transaction mode is refused by the check. The pooler is a minimal one:
//! all of its clients are answered by one backend.

use crate::fixture::{Fixture, append, schema};
use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use weir_model::secret::Secret;
use weir_store::postgres::Store;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn read_body(client: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    client.read_exact(&mut body)?;
    Ok(body)
}

/// Answers `SELECT pg_backend_pid()` with the number of its only backend, and all else with
/// success.
fn serve(mut client: TcpStream) -> Result<()> {
    const TLS_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
    while read_body(&mut client)?.starts_with(&TLS_REQUEST) {
        client.write_all(b"N")?;
    }
    let ready = message(b'Z', b"I");
    client.write_all(&[message(b'R', &[0; 4]), ready.clone()].concat())?;
    loop {
        let mut tag = [0];
        client.read_exact(&mut tag)?;
        let query = String::from_utf8_lossy(&read_body(&mut client)?).into_owned();
        let mut answer = Vec::new();
        if query.contains("pg_backend_pid") {
            let column =
                [b"pid\0".as_slice(), &[0; 6], &[0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]];
            answer.extend(message(b'T', &[&[0, 1][..], &column.concat()].concat()));
            answer.extend(message(b'D', &[&[0, 1, 0, 0, 0, 4][..], b"4711"].concat()));
        }
        answer.extend(message(b'C', b"SELECT 1\0"));
        answer.extend(&ready);
        client.write_all(&answer)?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || serve(client));
        }
    });
    let url = Secret::new(format!("postgres://weir:hush@127.0.0.1:{port}/weir"));
    let store = Store::new(&url, "test", 2).unwrap();
    let check = store.check("warehouse", &append(), &schema()).await.unwrap();
    assert!(check.layout.is_none());
    assert_eq!(check.mistakes.len(), 1);
    let mistake = &check.mistakes[0];
    assert_eq!(mistake.key, "sink.warehouse.url");
    assert!(mistake.what.contains("pooler in transaction mode"), "{}", mistake.what);
    assert!(mistake.hint.as_ref().is_some_and(|hint| hint.contains("session")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_itself_is_no_pooler() {
    let check = Fixture::new().store.check("warehouse", &append(), &schema()).await.unwrap();
    assert_eq!(check.mistakes, []);
}
