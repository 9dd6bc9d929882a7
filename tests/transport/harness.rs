use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use identity::auth::{CallerFile, Callers};
use identity::domain::graph::{HistoryContact, PastIdentity, SetName, SetNotes};
use identity::domain::{
    Answer, Contact, ContactId, Identifier, IdentifierKind, Identity, IdentityState, Link, LookUp, Observation,
    Outcome, Timestamp,
};
use identity::listener::{FixedLimits, Listeners, StartError, serve};
use identity::metrics::{Metrics, ScrapeFormat};
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use identity::resolver::{
    Admitted, Caller, DatabaseState, Identify, IdentifyError, IdentifyRequest, IdentityPage, PastLookUp, ReadGraph,
    Reserved,
};
use identity::settings::Settings;
use identity::store::{HistoryRead, HistoryRows};
use identity::tls::TlsFiles;
use identity::traces::Traces;
use identity::transport::http::JsonService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// What the resolver does with every call.
#[derive(Clone, Copy)]
pub(crate) enum Script {
    Answer(Outcome),
    Fail(IdentifyError),
    /// Answers after a while, or not before the deadline.
    Slow(Duration),
    /// Has no room for a call: it is refused by its head.
    Full,
    /// Never answers, and is never idle: each poll of a call is one turn.
    Busy,
    /// Has room for a batch only after a while.
    SlowAdmission(Duration),
    /// Answers with an identity of so many contacts if it is asked for the phone number 0, else with a small one.
    Large(i64),
    Panic,
}

/// A resolver that does what its script says.
#[derive(Clone)]
pub(crate) struct Scripted {
    script: Script,
    /// The identity of [`Script::Large`].
    large: Arc<OnceLock<IdentityState>>,
    /// Calls that began, and ones that were given up.
    pub(crate) begun: Arc<AtomicUsize>,
    pub(crate) dropped: Arc<AtomicUsize>,
    /// Turns that calls had, of [`Script::Busy`].
    pub(crate) turns: Arc<AtomicUsize>,
    /// How many turns calls had had when each refused call was refused.
    pub(crate) refused_at: Arc<Mutex<Vec<usize>>>,
    /// The script becomes [`Script::Full`] when this is set.
    pub(crate) is_full: Arc<AtomicBool>,
    /// The caller of each request.
    pub(crate) callers: Arc<Mutex<Vec<Caller>>>,
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Identify for Scripted {
    fn for_caller(&self, caller: Caller) -> Self {
        self.callers.lock().unwrap().push(caller);
        self.clone()
    }

    fn reserve(&self, _: Caller, _: Instant) -> Result<Reserved, IdentifyError> {
        let is_full = matches!(self.script, Script::Full) || self.is_full.load(Ordering::SeqCst);
        if !is_full {
            return Ok(Reserved::default());
        }
        self.refused_at.lock().unwrap().push(self.turns.load(Ordering::SeqCst));
        Err(IdentifyError::Overloaded)
    }

    async fn admit(&self, _: Reserved, _: usize, _: Instant) -> Result<Admitted, IdentifyError> {
        if matches!(self.script, Script::Fail(IdentifyError::Overloaded)) {
            return Err(IdentifyError::Overloaded);
        }
        if let Script::SlowAdmission(time) = self.script {
            tokio::time::sleep(time).await;
        }
        Ok(Admitted::default())
    }

    async fn identify(&self, request: IdentifyRequest, _deadline: Instant) -> Result<Answer, IdentifyError> {
        let observation = request.observation;
        self.begun.fetch_add(1, Ordering::SeqCst);
        match self.script {
            Script::Answer(outcome) => Ok(answer(outcome, &observation)),
            Script::Full | Script::SlowAdmission(_) => Ok(answer(Outcome::Matched, &observation)),
            Script::Fail(error) => Err(error),
            Script::Slow(time) => {
                let given_up = CountDrop(self.dropped.clone());
                tokio::time::sleep(time).await;
                std::mem::forget(given_up);
                Ok(answer(Outcome::Matched, &observation))
            }
            Script::Large(contacts) => {
                let is_large = observation.identifiers().iter().any(|identifier| identifier.value() == "0");
                if !is_large {
                    return Ok(answer(Outcome::Linked, &observation));
                }
                let identity = self.large.get_or_init(|| large(contacts)).clone();
                Ok(Answer { outcome: Outcome::Linked, identity, ignored: Vec::new() })
            }
            Script::Busy => loop {
                self.turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            },
            Script::Panic => panic!("doc@hillvalley.edu"),
        }
    }
}

/// It knows the identity 1 of [`answer`], to which every identifier leads but the phone number 0.
impl ReadGraph for Scripted {
    async fn identity_of(
        &self,
        _: Reserved,
        contact: ContactId,
        deadline: Instant,
    ) -> Result<Option<Arc<Identity>>, IdentifyError> {
        let phone = Identifier::from_stored(IdentifierKind::Phone, "1");
        let answer = self.identify(Observation::new([phone]).unwrap().into(), deadline).await?;
        Ok(Some(Arc::clone(answer.identity.list())).filter(|_| contact == ContactId(1) || contact == ContactId(23)))
    }

    async fn look_up(&self, _: Reserved, all: Vec<Identifier>, deadline: Instant) -> Result<LookUp, IdentifyError> {
        let mut owners = Vec::new();
        for identifier in all {
            let owner = self.identity_of(Reserved::default(), ContactId(1), deadline).await?;
            owners.push((identifier.clone(), owner.filter(|_| identifier.value() != "0")));
        }
        Ok(LookUp::new(owners))
    }

    /// As in the past, so at present.
    async fn look_up_at(
        &self,
        _: Reserved,
        all: Vec<Identifier>,
        _: Timestamp,
        deadline: Instant,
    ) -> Result<PastLookUp, IdentifyError> {
        let LookUp { identities, unknown } = self.look_up(Reserved::default(), all, deadline).await?;
        let past = |identity: &Arc<Identity>| {
            let (contacts, updated_at) = (identity.contacts().to_vec(), identity.version());
            Arc::new(PastIdentity { contacts, updated_at })
        };
        let identities = identities.iter().map(past).collect();
        Ok(PastLookUp { now: NOW, complete_since: None, identities, unknown, is_too_large: false })
    }

    async fn read_history<T, F>(
        &self,
        _: Reserved,
        contact: ContactId,
        deadline: Instant,
        work: F,
    ) -> Result<T, IdentifyError>
    where
        T: Send + 'static,
        F: FnOnce(HistoryRead) -> T + Send + Sync + 'static,
    {
        let identity = self.identity_of(Reserved::default(), contact, deadline).await?;
        let rows = identity.map(|identity| {
            let contacts = identity.contacts().iter().cloned();
            let contacts = contacts.map(|contact| HistoryContact { contact, deleted_at: None }).collect();
            HistoryRows { root: identity.root(), contacts, ..HistoryRows::default() }
        });
        Ok(work(HistoryRead { now: NOW, complete_since: None, identity: rows }))
    }

    async fn notes_of(&self, _: Vec<SetName>, _: Instant) -> Result<SetNotes, IdentifyError> {
        Ok(SetNotes::new())
    }

    async fn list_identities(
        &self,
        _: Reserved,
        after: Option<ContactId>,
        _: usize,
        deadline: Instant,
    ) -> Result<IdentityPage, IdentifyError> {
        let identity = self.identity_of(Reserved::default(), ContactId(1), deadline).await?;
        let identities = identity.into_iter().filter(|_| after.is_none()).collect();
        Ok(IdentityPage { identities, next: None })
    }
}

/// The clock of [`Scripted`].
const NOW: Timestamp = Timestamp(1_000);

/// Contact 1 with what was asked, and a secondary 23.
fn answer(outcome: Outcome, observation: &Observation) -> Answer {
    let contact = |id, link, identifiers: &[Identifier]| Contact::new(ContactId(id), identifiers, Timestamp(id), link);
    let other = Identifier::from_stored(IdentifierKind::Email, "mcfly@hillvalley.edu");
    let contacts = vec![
        contact(1, Link::Primary, observation.identifiers()),
        contact(23, Link::SecondaryOf(ContactId(1)), &[other]),
    ];
    Answer { outcome, identity: Identity::new(contacts).unwrap().into(), ignored: Vec::new() }
}

/// An identity of contacts that share the phone number 0, each with an e-mail address of 254 bytes.
fn large(contacts: i64) -> IdentityState {
    let contact = |id: i64| {
        let email = Identifier::from_stored(IdentifierKind::Email, format!("{id:0>249}@b.co"));
        let phone = Identifier::from_stored(IdentifierKind::Phone, "0");
        let link = if id == 1 { Link::Primary } else { Link::SecondaryOf(ContactId(1)) };
        Contact::new(ContactId(id), [email, phone], Timestamp(id), link)
    };
    Identity::new((1..=contacts).map(contact).collect()).unwrap().into()
}

/// How a server is to run.
pub(crate) struct ServerSettings {
    pub(crate) settings: Settings,
    pub(crate) fixed: FixedLimits,
    /// Services that the gateway translates.
    pub(crate) json: Vec<JsonService>,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Of metrics and health.
    pub(crate) metrics: SocketAddr,
    /// What the port of metrics shows.
    pub(crate) counted: Metrics,
    pub(crate) resolver: Scripted,
    pub(crate) database: watch::Sender<DatabaseState>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
    start_error: Arc<Mutex<Option<StartError>>>,
}

impl Server {
    pub(crate) async fn start(script: Script) -> Self {
        Self::with(script, |_| {}).await
    }

    pub(crate) async fn with(script: Script, change: impl FnOnce(&mut ServerSettings)) -> Self {
        let mut options = ServerSettings {
            settings: Settings::from_flags(["--drain-timeout", "20s"]).unwrap(),
            fixed: FixedLimits::default(),
            json: Vec::new(),
        };
        change(&mut options);
        let page = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (metrics, counted) = (page.local_addr().unwrap(), Metrics::on());
        let listeners = Listeners {
            grpc: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            http: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            metrics: Some(page),
            tls: TlsFiles::load(&options.settings.tls).unwrap().map(Arc::new),
            callers: options
                .settings
                .access
                .tokens_file
                .as_deref()
                .map(|path| Arc::new(Callers::load(CallerFile::new(path)).unwrap())),
            traces: Traces::default(),
            json: options.json,
        };
        let (grpc, http) = (listeners.grpc.local_addr().unwrap(), listeners.http.local_addr().unwrap());
        let resolver = Scripted {
            script,
            large: Arc::default(),
            begun: Arc::default(),
            dropped: Arc::default(),
            turns: Arc::default(),
            refused_at: Arc::default(),
            is_full: Arc::default(),
            callers: Arc::default(),
        };
        let (database, reachable) = watch::channel(DatabaseState::Usable);
        let shutdown = CancellationToken::new();
        let (served, token, measured) = (resolver.clone(), shutdown.clone(), counted.clone());
        let start_error: Arc<Mutex<Option<StartError>>> = Arc::default();
        let failed = Arc::clone(&start_error);
        let task = tokio::spawn(async move {
            let served = serve(listeners, served, &options.settings, options.fixed, reachable, &measured, token).await;
            *failed.lock().unwrap() = served.err();
        });
        Self { grpc, http, metrics, counted, resolver, database, shutdown, task, start_error }
    }

    /// Why a server does not start, or `None` after its end.
    pub(crate) async fn start_error(self) -> Option<StartError> {
        self.task.await.unwrap();
        self.start_error.lock().unwrap().take()
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn client(&self) -> IdentityServiceClient<Channel> {
        IdentityServiceClient::new(self.channel().await)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// `POST /identify`.
    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::Response {
        reqwest::Client::new().post(self.url("/identify")).body(body).send().await.unwrap()
    }

    /// How often changed files were taken over, and refused: `certificate` or `tokens`.
    pub(crate) fn reloads(&self, what: &str) -> [u64; 2] {
        let page = self.counted.scrape(ScrapeFormat::Text);
        ["ok", "error"].map(|result| {
            let series = format!(r#"identity_config_reloads_total{{what="{what}",result="{result}"}} "#);
            page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap()
        })
    }

    /// Waits until the resolver has seen so many calls.
    pub(crate) async fn until_begun(&self, calls: usize) {
        until(|| self.resolver.begun.load(Ordering::SeqCst) >= calls).await;
    }
}

/// Waits until something holds, but not for ever.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The same for something that takes time to find out.
pub(crate) async fn until_async(mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(10), "waited in vain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends bytes, and all that comes back until the server closes, which must be within 5 s.
pub(crate) async fn talk(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    rest(&mut stream).await
}

pub(crate) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A reset is a way to close too.
    let _ = tokio::time::timeout(Duration::from_secs(5), read).await.unwrap();
    answer
}
