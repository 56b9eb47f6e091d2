//! A TCP proxy that makes a server unavailable without touching it: for network faults, and for
//! shared components.

use crate::database::RUNTIME;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with bytes and with new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Passes everything on, each piece this much later.
    Delay(Duration),
    /// Keeps connections open, takes new ones, and passes nothing on until the mode changes: a
    /// network that drops everything.
    Hold,
    /// No connections at all: the port is closed. Changing into this mode cuts the open ones.
    Refuse,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections of an older generation end.
    generation: u64,
}

/// Forwards a port of 127.0.0.1 to a server until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
}

impl Proxy {
    /// Listens on a free port and passes on to `target` (`host:port`).
    pub fn start(target: &str) -> Result<Proxy> {
        let address = SocketAddr::from(([127, 0, 0, 1], crate::ports::free()?));
        let (state, receiver) = watch::channel(State { mode: Mode::Pass, generation: 0 });
        let listener = std::net::TcpListener::bind(address).context("bind the proxy")?;
        listener.set_nonblocking(true)?;
        RUNTIME.spawn(serve(address, Some(listener), target.to_string(), receiver));
        Ok(Proxy { address, state })
    }

    /// In front of the server that `url` names; the second value is the URL that goes through the
    /// proxy.
    pub fn in_front_of(url: &str) -> Result<(Proxy, String)> {
        let (scheme, rest) =
            url.split_once("://").with_context(|| format!("{url} has no scheme"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) =
            authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
        let proxy = Proxy::start(host)?;
        let at = if user.is_empty() { "" } else { "@" };
        let url = format!("{scheme}://{user}{at}{}/{path}", proxy.address());
        Ok((proxy, url))
    }

    /// `host:port` for clients.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what it does from now on.
    pub fn set(&self, mode: Mode) {
        self.state.send_modify(|state| {
            state.mode = mode;
            state.generation += u64::from(mode == Mode::Refuse);
        });
    }

    /// Cuts the open connections once; new ones follow the mode.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }
}

/// Ends when the proxy is dropped: the channel is closed then.
async fn serve(
    address: SocketAddr,
    first: Option<std::net::TcpListener>,
    target: String,
    mut state: watch::Receiver<State>,
) {
    let mut listener = first.and_then(|listener| TcpListener::from_std(listener).ok());
    loop {
        if state.borrow_and_update().mode == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            accepted = accept(listener.as_ref()) => if let Some(client) = accepted {
                tokio::spawn(connection(client, target.clone(), state.clone()));
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn connection(client: TcpStream, target: String, state: watch::Receiver<State>) {
    let born = state.borrow().generation;
    let mut end = state.clone();
    let carry = async {
        let server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        tokio::try_join!(
            pump(from_client, to_server, state.clone()),
            pump(from_server, to_client, state)
        )
    };
    // Either way both sockets are dropped, hence closed; that is all there is to an end here.
    tokio::select! {
        _ = carry => {}
        _ = end.wait_for(|state| state.generation != born) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        let passes = state.wait_for(|state| state.mode != Mode::Hold).await.map(|state| state.mode);
        if let Ok(Mode::Delay(time)) = passes {
            tokio::time::sleep(time).await;
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}
