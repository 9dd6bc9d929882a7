//! A network between the service and its database that a test can break.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use url::Url;

/// The current state of the network.
#[derive(Clone, Debug)]
struct Line {
    /// Where new connections lead.
    target: SocketAddr,
    /// How long each piece of data waits, in either direction.
    delay: Duration,
    /// New connections are closed at once.
    is_down: bool,
    /// What new connections get in place of the database, before they are closed.
    refusal: Option<&'static [u8]>,
    /// Answers of the database are dropped.
    loses_answers: bool,
    /// A text of clients, and what replaces it.
    replaced: Option<(&'static [u8], &'static [u8])>,
    /// How many commits arrive and have their connection cut in place of an answer.
    loses_commits: usize,
    /// Whether the network is down after such a commit.
    is_down_after_commit: bool,
    /// Ends the connections that are open now.
    cut: CancellationToken,
    /// Makes the connections that are open now swallow everything.
    swallow: CancellationToken,
    /// What passed so far.
    traffic: Traffic,
}

/// What a client sent through a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How often it sent something after an answer, and so waited for the next one.
    pub round_trips: usize,
    /// How many of those only asked whether the server is there.
    pub pings: usize,
}

impl std::ops::Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { round_trips: self.round_trips - before.round_trips, pings: self.pings - before.pings }
    }
}

/// MySQL's COM_PING, and PostgreSQL's Sync, by which sqlx pings.
const PINGS: [&[u8]; 2] = [b"\x01\0\0\0\x0e", b"S\0\0\0\x04"];

/// Passes connections on to a database server. Clones are the same proxy.
#[derive(Clone)]
pub struct Proxy {
    line: Arc<Mutex<Line>>,
    /// The URL of the database with the address of the proxy.
    pub url: String,
}

/// The address in the URL of a database.
fn address(url: &str) -> SocketAddr {
    let url = Url::parse(url).expect("a URL");
    format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port")).parse().expect("an address")
}

impl Proxy {
    /// A proxy before the server at this URL.
    pub async fn start(database: &str) -> Self {
        Self::start_at("127.0.0.1", database).await
    }

    /// The same at this host, as it stands in a URL.
    pub async fn start_at(host: &str, database: &str) -> Self {
        let listener = TcpListener::bind(format!("{host}:0")).await.expect("a port");
        let mut url = Url::parse(database).expect("a URL");
        url.set_host(Some(host)).expect("a host");
        url.set_port(Some(listener.local_addr().expect("bound").port())).expect("a port");
        let line = Arc::new(Mutex::new(Line {
            target: address(database),
            delay: Duration::ZERO,
            is_down: false,
            refusal: None,
            loses_answers: false,
            replaced: None,
            loses_commits: 0,
            is_down_after_commit: false,
            cut: CancellationToken::new(),
            swallow: CancellationToken::new(),
            traffic: Traffic::default(),
        }));
        let proxy = Self { line: Arc::clone(&line), url: url.into() };
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let now = line.lock().expect("the line").clone();
                if let Some(refusal) = now.refusal {
                    let _ = client.write_all(refusal).await;
                    continue;
                }
                if !now.is_down
                    && let Ok(server) = TcpStream::connect(now.target).await
                {
                    forward(client, server, &line, &now);
                }
            }
        });
        proxy
    }

    /// Lets new connections lead to the server at this URL. Open ones stay.
    pub fn redirect(&self, database: &str) {
        self.line().target = address(database);
    }

    /// Delays each piece of data, in either direction.
    pub fn delay(&self, delay: Duration) {
        self.line().delay = delay;
    }

    /// Ends every open connection, in the middle of whatever it does.
    pub fn cut(&self) {
        std::mem::take(&mut self.line().cut).cancel();
    }

    /// Cuts, and lets no new connection through until [`Proxy::up`].
    pub fn down(&self) {
        self.line().is_down = true;
        self.cut();
    }

    /// Lets new connections through again.
    pub fn up(&self) {
        self.line().is_down = false;
    }

    /// Cuts, and sends this to each new connection in place of what the database says.
    pub fn refuse(&self, refusal: &'static [u8]) {
        self.line().refusal = Some(refusal);
        self.cut();
    }

    /// Passes new connections on again.
    pub fn refuse_nothing(&self) {
        self.line().refusal = None;
    }

    /// Lets statements arrive and drops their answers, until it is called with `false`.
    pub fn lose_answers(&self, loses: bool) {
        self.line().loses_answers = loses;
    }

    /// Replaces a text in what clients send by another one of the same length, once in a piece of data. TLS would hide
    /// it.
    pub fn replace(&self, text: &'static [u8], by: &'static [u8]) {
        assert_eq!(text.len(), by.len());
        self.line().replaced = Some((text, by));
    }

    /// Replaces nothing any more.
    pub fn replace_nothing(&self) {
        self.line().replaced = None;
    }

    /// Lets so many commits arrive, and cuts their connections once the database has answered. TLS would hide them.
    pub fn lose_commits(&self, commits: usize) {
        self.line().loses_commits = commits;
    }

    /// How many commits are still to be lost.
    pub fn commits_to_lose(&self) -> usize {
        self.line().loses_commits
    }

    /// Lets one commit arrive, and then nothing through any more.
    pub fn down_after_commit(&self) {
        let mut line = self.line();
        (line.loses_commits, line.is_down_after_commit) = (1, true);
    }

    /// What clients have sent so far.
    pub fn traffic(&self) -> Traffic {
        self.line().traffic
    }

    /// Lets nothing through the open connections any more, and closes none of them: a machine that lost its power, a
    /// firewall that forgot them. New connections work.
    pub fn swallow(&self) {
        std::mem::take(&mut self.line().swallow).cancel();
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().expect("the line")
    }
}

fn forward(client: TcpStream, server: TcpStream, line: &Arc<Mutex<Line>>, now: &Line) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // When one direction ends, the other ends too.
    let end = now.cut.child_token();
    let loses_next = Arc::new(AtomicBool::new(false));
    let is_answered = Arc::new(AtomicBool::new(true));
    for (mut from, mut to, is_answer) in [(from_client, to_server, false), (from_server, to_client, true)] {
        let (line, end, swallow) = (Arc::clone(line), end.clone(), now.swallow.clone());
        let (loses_next, is_answered) = (Arc::clone(&loses_next), Arc::clone(&is_answered));
        tokio::spawn(async move {
            tokio::select! {
                // In this order: on a busy machine several are ready, and nothing may pass after `swallow`.
                biased;
                () = end.cancelled() => {}
                () = swallow.cancelled() => {
                    // What arrives is read, so that the sender notices nothing.
                    let mut nothing = [0; 4096];
                    while from.read(&mut nothing).await.is_ok_and(|length| length > 0) {}
                    std::future::pending::<()>().await;
                }
                () = copy(&mut from, &mut to, is_answer, &line, [&loses_next, &is_answered]) => {}
            }
            end.cancel();
        });
    }
}

async fn copy(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    is_answer: bool,
    line: &Mutex<Line>,
    [loses_next, is_answered]: [&AtomicBool; 2],
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(size @ 1..) = from.read(&mut buffer).await {
        if is_answered.swap(is_answer, Ordering::SeqCst) && !is_answer {
            let traffic = &mut line.lock().expect("the line").traffic;
            traffic.round_trips += 1;
            traffic.pings += usize::from(PINGS.contains(&&buffer[..size]));
        }
        let now = line.lock().expect("the line").clone();
        if !now.delay.is_zero() {
            tokio::time::sleep(now.delay).await;
        }
        if is_answer && loses_next.load(Ordering::SeqCst) {
            if now.is_down_after_commit {
                let mut line = line.lock().expect("the line");
                line.is_down = true;
                std::mem::take(&mut line.cut).cancel();
            }
            return;
        }
        // The end of a statement, in PostgreSQL before a zero. A new session has READ COMMITTED.
        let is_commit = [&b"COMMIT"[..], b"COMMIT\0"].iter().any(|end| buffer[..size].ends_with(end));
        if !is_answer && now.loses_commits > 0 && is_commit {
            line.lock().expect("the line").loses_commits -= 1;
            loses_next.store(true, Ordering::SeqCst);
        }
        if !is_answer
            && let Some((text, by)) = now.replaced
            && let Some(begin) = buffer[..size].windows(text.len()).position(|window| window == text)
        {
            buffer[begin..begin + by.len()].copy_from_slice(by);
        }
        if !(is_answer && now.loses_answers) && to.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
}
