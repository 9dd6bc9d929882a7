//! A network between the service and its database that a test can break.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// Passes connections on to a database server.
pub struct Proxy {
    /// The database's URL, but for its address, which is the proxy's.
    pub url: String,
    target: Arc<watch::Sender<SocketAddr>>,
    /// How often [`Proxy::swallow`] was called.
    swallowed: Arc<watch::Sender<u32>>,
}

fn address(url: &str) -> SocketAddr {
    let url = Url::parse(url).expect("a URL");
    format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port")).parse().expect("an address")
}

impl Proxy {
    pub async fn start(database: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut url = Url::parse(database).expect("a URL");
        url.set_port(Some(listener.local_addr().expect("bound").port())).expect("a port");
        let target = Arc::new(watch::Sender::new(address(database)));
        let swallowed = Arc::new(watch::Sender::new(0));
        let proxy = Self { url: url.into(), target: Arc::clone(&target), swallowed: Arc::clone(&swallowed) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = *target.borrow();
                if let Ok(server) = TcpStream::connect(to).await {
                    tokio::spawn(pass(client, server, swallowed.subscribe()));
                }
            }
        });
        proxy
    }

    /// From here on new connections go there; those that are open stay.
    pub fn redirect(&self, database: &str) {
        self.target.send_replace(address(database));
    }

    /// From here on nothing comes through the connections that are open, and neither end is told: a machine
    /// that lost its power, a firewall that forgot them. New ones work.
    pub fn swallow(&self) {
        self.swallowed.send_modify(|count| *count += 1);
    }
}

async fn pass(client: TcpStream, server: TcpStream, mut swallowed: watch::Receiver<u32>) {
    swallowed.mark_unchanged();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let back = async { tokio::io::copy(&mut from_server, &mut to_client).await.map(drop) };
    tokio::select! {
        _ = there => {}
        _ = back => {}
        Ok(()) = swallowed.changed() => {
            // What arrives is read, so that the sender notices nothing.
            let mut nothing = [0; 4096];
            while from_client.read(&mut nothing).await.is_ok_and(|length| length > 0) {}
            std::future::pending::<()>().await;
        }
    }
    let _ = to_client.shutdown().await;
    let _ = to_server.shutdown().await;
}
