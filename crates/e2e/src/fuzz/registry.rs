//! A registry in this process that answers every request with what it was told.

use anyhow::Result;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// See the module.
pub(crate) struct FakeRegistry {
    pub(crate) url: String,
    answer: Arc<Mutex<Answer>>,
}

/// Status and body, by schema id.
type Answer = Box<dyn Fn(u32) -> (u16, Vec<u8>) + Send>;

impl FakeRegistry {
    pub(crate) fn start() -> Result<FakeRegistry> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(|_| (404, Vec::new()))));
        let answers = answer.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = answers.clone();
                // A client that closes the connection ends it.
                std::thread::spawn(move || serve(&stream, &answers).ok());
            }
        });
        Ok(FakeRegistry { url, answer })
    }

    pub(crate) fn answer_with(&self, answer: impl Fn(u32) -> (u16, Vec<u8>) + Send + 'static) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(answer);
    }
}

fn serve(mut stream: &TcpStream, answer: &Mutex<Answer>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default();
        let id = path.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or(0);
        while line.trim() != "" {
            line.clear();
            reader.read_line(&mut line)?;
        }
        let (status, body) = answer.lock().unwrap_or_else(PoisonError::into_inner)(id);
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat())?;
    }
}
