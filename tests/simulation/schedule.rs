mod graph_reads;
mod split_off_ignored;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use identity::domain::{Answer, Identifier, Observation};
use identity::resolver::{Identify, IdentifyError, IdentifyRequest, Resolver};
use identity::settings::{CacheSettings, QueueSettings};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::graph_reads::{Found, Question, Read, contacts_of};
use self::split_off_ignored::split_off_ignored;

use crate::conditions::{Bug, Conditions, identifier};
use crate::connection::SimulatedStore;
use crate::database::Database;
use crate::noted::note_of;
use crate::tables::Tables;

/// A caller that waits so long, in virtual time, waits without end.
const HANGS: Duration = Duration::from_secs(600);

/// After so long nothing that was left behind is still under way.
const SETTLED: Duration = Duration::from_secs(10);

/// The deadline of those who do not hurry.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same where each request has a transaction of its own: long lists take half a minute.
const LONG_PATIENCE: Duration = Duration::from_secs(100);

/// One observation of a call, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Which call, and its place in there.
    pub(crate) call: usize,
    pub(crate) place: usize,
    /// Without the identifiers that are ignored.
    pub(crate) observation: Observation,
    /// Those.
    pub(crate) ignored: Vec<Identifier>,
    /// Its caller only wanted to know the answer.
    pub(crate) validate_only: bool,
    /// Counted in events: what began after another ended has the higher number.
    pub(crate) began: usize,
    pub(crate) ended: usize,
    pub(crate) fate: Fate,
}

#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Answered(Answer),
    Failed(Failure),
    /// Its caller left, or its replica crashed.
    Abandoned,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) error: IdentifyError,
    /// Whether its caller waits its turn, so that the deadline counts from then.
    pub(crate) is_in_turn: bool,
    /// Whether the deadline had passed by then.
    pub(crate) is_overdue: bool,
    /// Whether its caller did not give it all of [`Schedule::patience`].
    pub(crate) had_hurry: bool,
}

/// All that came of a schedule.
pub(crate) struct Run {
    pub(crate) conditions: Conditions,
    pub(crate) items: Vec<Item>,
    /// Those that were not to be carried out.
    pub(crate) validated: Vec<Item>,
    /// Those of which all identifiers are ignored.
    pub(crate) of_nobody: Vec<Item>,
    /// The reads that write nothing.
    pub(crate) reads: Vec<Read>,
    pub(crate) tables: Tables,
    /// All faults: where there were none, the database could always be reached.
    pub(crate) faults: usize,
    /// The event from which on all was well.
    pub(crate) well_from: usize,
    pub(crate) trace: Vec<String>,
}

/// Runs the schedule of a seed: the same one, whenever and wherever. An error is one that hangs.
pub(crate) fn run(seed: u64, bug: Option<Bug>, is_traced: bool) -> Result<Run, String> {
    fastrand::seed(seed); // What the resolver draws, in this thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut random = Rng::with_seed(seed);
        let mut conditions = Conditions::draw(&mut random);
        // A read that lacks the only row of a customer finds nobody. Only the keys of a write tell it from the truth.
        conditions.validates = seed.is_multiple_of(2) && conditions.torn_reads == 0;
        conditions.notes = seed.is_multiple_of(3);
        conditions.reads = seed % 5 == 2 && conditions.torn_reads == 0;
        let database = Database::new(conditions.clone(), bug, random.u64(..), is_traced);
        let schedule = Schedule::start(&database, &conditions);
        let finished = timeout(HANGS, schedule.run(&mut random)).await.is_ok();
        let trace = database.lock().take_trace();
        if !finished {
            return Err(format!("it hangs\n{}", trace.join("\n")));
        }
        if database.lock().keeps_locks() {
            return Err(format!("a commit keeps others from what it does not write\n{}", trace.join("\n")));
        }
        let tables = database.lock().tables();
        let faults = database.lock().faults();
        let mut history = schedule.history.lock().unwrap();
        let History { items, reads, well_from, .. } = std::mem::take(&mut *history);
        let (items, of_nobody) = split_off_ignored(items, &conditions.ignored());
        let (validated, items) = items.into_iter().partition(|item| item.validate_only);
        Ok(Run { conditions, items, validated, of_nobody, reads, tables, faults, well_from, trace })
    })
}

/// What all tasks of a schedule share.
#[derive(Clone)]
struct Schedule {
    database: Database,
    store: SimulatedStore,
    conditions: Conditions,
    replicas: Arc<Mutex<Vec<Replica>>>,
    history: Arc<Mutex<History>>,
}

#[derive(Clone)]
struct Replica {
    resolver: Resolver,
    store: SimulatedStore,
    crashed: CancellationToken,
}

#[derive(Default)]
struct History {
    events: usize,
    calls: usize,
    items: Vec<Item>,
    reads: Vec<Read>,
    well_from: usize,
}

impl History {
    fn event(&mut self) -> usize {
        self.events += 1;
        self.events
    }
}

/// A call as it is drawn.
struct Call {
    observations: Vec<Observation>,
    /// Which of these are not to be carried out.
    validate_only: Vec<bool>,
    api: Api,
    deadline: Duration,
    /// When its caller leaves.
    leaves: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum Api {
    Single,
    List,
    InTurn,
}

impl Schedule {
    fn start(database: &Database, conditions: &Conditions) -> Self {
        let schedule = Self {
            database: database.clone(),
            store: SimulatedStore::new(database.clone()),
            conditions: conditions.clone(),
            replicas: Arc::default(),
            history: Arc::default(),
        };
        for number in 0..conditions.replicas {
            let replica = schedule.replica(number);
            schedule.replicas.lock().unwrap().push(replica);
        }
        schedule
    }

    fn replica(&self, number: usize) -> Replica {
        let store = self.store.of_replica(number);
        let resolver = Resolver::start(
            store.clone(),
            QueueSettings {
                queue_limit: self.conditions.queue,
                transaction_size: self.conditions.transaction_size,
                max_queue_wait: Duration::from_secs(1),
                max_contacts: self.conditions.max_contacts,
            },
            CacheSettings { cache_size: self.conditions.cache_size, cache_max_age: self.conditions.cache_max_age },
        );
        Replica { resolver, store, crashed: CancellationToken::new() }
    }

    async fn run(&self, random: &mut Rng) {
        let callers = random.usize(2..=10);
        let calls = random.usize(20..=120) / callers + 1;
        let mut tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (schedule, random) = (self.clone(), random.fork());
                tokio::spawn(async move { schedule.caller(calls, random).await })
            })
            .collect();
        let (schedule, fork) = (self.clone(), random.fork());
        let mishaps = tokio::spawn(async move { schedule.mishaps(fork).await });
        if self.conditions.reads {
            let (schedule, fork) = (self.clone(), random.fork());
            tasks.push(tokio::spawn(async move { schedule.reader(calls, fork).await }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        mishaps.abort();
        sleep(SETTLED).await;
        self.database.lock().clear_up();
        {
            let mut history = self.history.lock().unwrap();
            history.well_from = history.event();
        }
        self.query_all().await;
        if self.conditions.reads {
            self.read_all().await;
        }
        self.replicas.lock().unwrap().clear();
        sleep(SETTLED).await;
    }

    async fn caller(&self, calls: usize, mut random: Rng) {
        let longest_pause = random.choice([0, 5, 50]).unwrap_or(0);
        for number in 1..=calls {
            sleep(Duration::from_millis(random.u64(0..=longest_pause))).await;
            let appeared = (self.conditions.identifiers * number).div_ceil(calls);
            let call = self.draw(appeared, &mut random);
            let replica = random.usize(0..self.conditions.replicas);
            self.call(replica, call).await;
        }
    }

    /// Outages and crashes, spread over the first two seconds.
    async fn mishaps(&self, mut random: Rng) {
        let outages = (0..self.conditions.outages).map(|_| false);
        let mut kinds: Vec<bool> = outages.chain((0..self.conditions.crashes).map(|_| true)).collect();
        random.shuffle(&mut kinds);
        for is_crash in kinds {
            sleep(Duration::from_millis(random.u64(0..500))).await;
            if is_crash {
                self.crash(random.usize(0..self.conditions.replicas));
            } else {
                self.store.fail_for(Duration::from_millis(random.u64(0..300)));
            }
        }
    }

    /// Ends a replica, and starts another in its place.
    fn crash(&self, place: usize) {
        let number = self.history.lock().unwrap().event() + self.conditions.replicas;
        let replica = self.replica(number);
        let old = std::mem::replace(&mut self.replicas.lock().unwrap()[place], replica);
        old.store.crash();
        old.crashed.cancel();
    }

    fn patience(&self) -> Duration {
        if self.conditions.transaction_size == 1 { LONG_PATIENCE } else { PATIENCE }
    }

    /// The deadline of a call, and when its caller leaves.
    fn draw_patience(&self, random: &mut Rng) -> (Duration, Option<Duration>) {
        let hurries = random.u32(0..8) == 0;
        let deadline = if hurries { Duration::from_millis(random.u64(0..100)) } else { self.patience() };
        let leaves = (random.u32(0..12) == 0).then(|| Duration::from_millis(random.u64(0..100)));
        (deadline, leaves)
    }

    /// A call about the identifiers that have appeared by now.
    fn draw(&self, appeared: usize, random: &mut Rng) -> Call {
        let api = random.choice([Api::Single, Api::Single, Api::List, Api::InTurn]).unwrap_or(Api::Single);
        let count = match api {
            Api::Single => 1,
            // More than one statement reads.
            Api::List | Api::InTurn if random.u32(0..40) == 0 => random.usize(60..=100),
            Api::List | Api::InTurn => random.usize(1..=8),
        };
        let (deadline, leaves) = self.draw_patience(random);
        let observations = (0..count).map(|_| observation(appeared, random)).collect();
        // By a generator of their own, so that a seed without them is the schedule that it was.
        let mut fork = random.clone();
        let validate_only = (0..count).map(|_| self.conditions.validates && fork.u32(0..4) == 0).collect();
        Call { observations, validate_only, api, deadline, leaves }
    }

    /// Makes a call, and keeps what came of it.
    async fn call(&self, replica: usize, call: Call) {
        let replica = self.replicas.lock().unwrap()[replica].clone();
        let (number, began) = {
            let mut history = self.history.lock().unwrap();
            history.calls += 1;
            (history.calls, history.event())
        };
        let due = Instant::now() + call.deadline;
        self.note(|| {
            format!("call {number} begins: {:?} {} {:?}", call.api, show(&call.observations), call.validate_only)
        });
        let sent = self.send(&replica.resolver, number, &call, due);
        let answers = replica.crashed.run_until_cancelled(sent).await.flatten();
        self.note(|| format!("call {number} ends: {answers:?}"));
        let mut history = self.history.lock().unwrap();
        let ended = history.event();
        let (is_in_turn, is_overdue) = (matches!(call.api, Api::InTurn), Instant::now() >= due);
        let failure = |error| Failure { error, is_in_turn, is_overdue, had_hurry: call.deadline < self.patience() };
        let fate = |place: usize| match answers.as_ref().map(|answers| answers[place].clone()) {
            Some(Ok(answer)) => Fate::Answered(answer),
            Some(Err(error)) => Fate::Failed(failure(error)),
            None => Fate::Abandoned,
        };
        let items = call.observations.into_iter().enumerate().map(|(place, observation)| Item {
            call: number,
            place,
            observation,
            ignored: Vec::new(),
            validate_only: call.validate_only[place],
            began,
            ended,
            fate: fate(place),
        });
        let items: Vec<Item> = items.collect();
        history.items.extend(items);
    }

    async fn send(
        &self,
        resolver: &Resolver,
        number: usize,
        call: &Call,
        due: Instant,
    ) -> Option<Vec<Result<Answer, IdentifyError>>> {
        let requests = call.observations.iter().zip(&call.validate_only).enumerate();
        let requests = requests.map(|(place, (observation, validate_only))| {
            let note = note_of(number, place).filter(|_| self.conditions.notes);
            IdentifyRequest { observation: observation.clone().with_note(note), validate_only: *validate_only }
        });
        let requests: Vec<IdentifyRequest> = requests.collect();
        let answers = async {
            match call.api {
                Api::Single => vec![resolver.identify(requests[0].clone(), due.into_std()).await],
                Api::List => {
                    let count = requests.len();
                    let answers = resolver.identify_all(requests, due.into_std()).await;
                    answers.unwrap_or_else(|error| vec![Err(error); count])
                }
                Api::InTurn => resolver.identify_in_turn(requests, call.deadline).await,
            }
        };
        match call.leaves {
            Some(patience) => timeout(patience, answers).await.ok(),
            None => Some(answers.await),
        }
    }

    /// In the end, when all is well again, every replica knows everybody.
    async fn query_all(&self) {
        let known: Vec<Identifier> = self.database.lock().tables().identifiers.into_keys().collect();
        for replica in 0..self.conditions.replicas {
            for identifier in &known {
                let observations = vec![Observation::new([identifier.clone()]).unwrap()];
                let (api, deadline, validate_only) = (Api::Single, self.patience(), vec![false]);
                self.call(replica, Call { observations, validate_only, api, deadline, leaves: None }).await;
            }
        }
    }

    fn note(&self, line: impl FnOnce() -> String) {
        self.database.lock().note(line);
    }
}

/// Two identifiers mostly, sometimes more than there are kinds yet. Half of them are among the latest, so that to the
/// end there are new customers, who turn out to be others.
fn observation(appeared: usize, random: &mut Rng) -> Observation {
    let count = random.choice([1, 1, 2, 2, 2, 2, 2, 3]).unwrap_or(1);
    let oldest = if random.bool() { appeared.saturating_sub(8) } else { 0 };
    Observation::new((0..count).map(|_| identifier(random.usize(oldest..appeared)))).unwrap()
}

/// Their identifiers' values: `1+2, 3`.
fn show(observations: &[Observation]) -> String {
    let one = |observation: &Observation| {
        observation.identifiers().iter().map(Identifier::value).collect::<Vec<_>>().join("+")
    };
    observations.iter().map(one).collect::<Vec<_>>().join(", ")
}
