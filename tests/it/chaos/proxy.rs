//! A line between a replica and its database that can be cut, held, and slowed down.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How the line is just now.
#[derive(Clone, Debug, Default)]
struct Line {
    /// How long each piece of data waits, either way.
    delay: Duration,
    /// New connections are closed at once.
    is_down: bool,
    /// What the database says is dropped.
    loses_answers: bool,
    /// Ends the connections of now.
    cut: CancellationToken,
}

/// A proxy in front of a database. Clones are the same one.
#[derive(Clone)]
pub struct Proxy {
    line: Arc<Mutex<Line>>,
    pub address: SocketAddr,
}

impl Proxy {
    pub async fn start(database: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = Self { line: Arc::default(), address: listener.local_addr().expect("bound") };
        let line = Arc::clone(&proxy.line);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let now = line.lock().expect("the line").clone();
                if !now.is_down
                    && let Ok(server) = TcpStream::connect(&database).await
                {
                    forward(client, server, &line, &now.cut);
                }
            }
        });
        proxy
    }

    /// The database's URL with this line in between.
    pub fn url(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.address.port())).expect("a port");
        url.into()
    }

    pub fn delay(&self, delay: Duration) {
        self.line.lock().expect("the line").delay = delay;
    }

    /// Ends every connection there is, in the middle of whatever it does.
    pub fn cut(&self) {
        std::mem::take(&mut self.line.lock().expect("the line").cut).cancel();
    }

    /// Cuts, and lets no new connection through until [`Proxy::up`].
    pub fn down(&self) {
        self.line.lock().expect("the line").is_down = true;
        self.cut();
    }

    pub fn up(&self) {
        self.line.lock().expect("the line").is_down = false;
    }

    /// From here to the next cut, statements arrive and their answers do not.
    pub fn lose_answers(&self, loses: bool) {
        self.line.lock().expect("the line").loses_answers = loses;
    }
}

fn forward(client: TcpStream, server: TcpStream, line: &Arc<Mutex<Line>>, cut: &CancellationToken) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    for (from, to, is_answer) in [(from_client, to_server, false), (from_server, to_client, true)] {
        let (line, cut) = (Arc::clone(line), cut.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                () = copy(from, to, is_answer, &line) => {} // The other half sees the end too.
            }
        });
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_answer: bool, line: &Mutex<Line>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(size @ 1..) = from.read(&mut buffer).await {
        let now = line.lock().expect("the line").clone();
        if !now.delay.is_zero() {
            tokio::time::sleep(now.delay).await;
        }
        if !(is_answer && now.loses_answers) && to.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
}
