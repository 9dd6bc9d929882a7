//! Turns async functions into tests, one for each database.

use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use super::{Backend, Server, TestDatabase};

/// A test that hangs fails; the slowest takes a fraction of this. `TEST_TIME_LIMIT` has other seconds, for
/// long campaigns.
fn time_limit() -> Duration {
    let seconds = std::env::var("TEST_TIME_LIMIT").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(240))
}

/// Registers tests under the names of their functions: `register!(suite.on(&Backend::SERVERS): one, another);`.
macro_rules! register {
    (@one $suite:ident $method:ident ($($argument:expr),*) $test:ident) => {
        $suite.$method($($argument,)* &$crate::harness::test_name(module_path!(), stringify!($test)), $test);
    };
    ($suite:ident . $method:ident $arguments:tt : $($test:ident),+ $(,)?) => {
        $( $crate::harness::register!(@one $suite $method $arguments $test); )+
    };
}
pub(crate) use register;

/// The name of a test: the file or folder of `tests/it` that it is in, and its function.
pub fn test_name(module_path: &str, function: &str) -> String {
    let module = module_path.split("::").nth(1).unwrap_or(module_path);
    format!("{module}::{function}")
}

/// All tests, as they are registered.
pub struct Suite {
    trials: Vec<Trial>,
    /// Set by `scripts/test`: a database that is missing fails its tests.
    require_all: bool,
}

impl Suite {
    pub fn from_env() -> Self {
        Self { trials: Vec::new(), require_all: std::env::var_os("TEST_REQUIRE_ALL").is_some() }
    }

    /// Registers a test on every database.
    pub fn on_all<F: Future<Output = ()> + 'static>(&mut self, name: &str, test: fn(TestDatabase) -> F) {
        self.on(&Backend::ALL, name, test);
    }

    /// Registers a test on some databases that needs something of the machine. Where that is missing, the run says so;
    /// with `TEST_REQUIRE_TOOLS`, which `.ci/run` sets, the test fails.
    pub fn on_with<F: Future<Output = ()> + 'static>(
        &mut self,
        has: Result<(), String>,
        backends: &[Backend],
        name: &str,
        test: fn(TestDatabase) -> F,
    ) {
        match has {
            Ok(()) => self.on(backends, name, test),
            Err(missing) if std::env::var_os("TEST_REQUIRE_TOOLS").is_some() => {
                self.trials.push(Trial::test(name, move || Err(missing.into())));
            }
            Err(missing) => eprintln!("not run: {name}: {missing}"),
        }
    }

    /// Registers a test on some databases.
    pub fn on<F: Future<Output = ()> + 'static>(
        &mut self,
        backends: &[Backend],
        name: &str,
        test: fn(TestDatabase) -> F,
    ) {
        for &backend in backends {
            let missing = backend.server().is_err();
            let run = move || {
                backend.server()?;
                block_on(async move {
                    let database = TestDatabase::create(backend).await;
                    test(database.clone()).await;
                    database.drop().await;
                })
            };
            let trial = Trial::test(format!("{name}::{}", backend.name()), run);
            self.trials.push(trial.with_ignored_flag(missing && !self.require_all));
        }
    }

    /// Registers a test on database servers of its own, which it may stop and kill.
    pub fn on_own_server<F: Future<Output = ()> + 'static>(
        &mut self,
        backends: &[Backend],
        name: &str,
        test: fn(Server) -> F,
    ) {
        for &backend in backends {
            let missing = Server::script().is_err();
            let run = move || {
                Server::script()?;
                block_on(async move { test(Server::start(backend)).await })
            };
            let trial = Trial::test(format!("{name}::{}", backend.name()), run);
            self.trials.push(trial.with_ignored_flag(missing && !self.require_all));
        }
    }

    /// Registers a test that starts servers by `scripts/servers` itself.
    pub fn with_servers<F: Future<Output = ()> + 'static>(&mut self, name: &str, test: fn() -> F) {
        let missing = Server::script().is_err();
        let run = move || {
            Server::script()?;
            block_on(test())
        };
        self.trials.push(Trial::test(name, run).with_ignored_flag(missing && !self.require_all));
    }

    /// Registers a test that needs no database server.
    pub fn plain<F: Future<Output = ()> + 'static>(&mut self, name: &str, test: fn() -> F) {
        self.trials.push(Trial::test(name, move || block_on(test())));
    }

    /// Registers a test that needs something of the machine, but no database server.
    pub fn plain_with<F: Future<Output = ()> + 'static>(
        &mut self,
        has: fn() -> Result<(), String>,
        name: &str,
        test: fn() -> F,
    ) {
        let missing = has();
        if let (Err(missing), false) = (&missing, self.require_all) {
            eprintln!("not run: {name}: {missing}");
        }
        let is_missing = missing.is_err();
        let run = move || {
            missing?;
            block_on(test())
        };
        self.trials.push(Trial::test(name, run).with_ignored_flag(is_missing && !self.require_all));
    }

    /// Runs them and exits.
    pub fn run(self) {
        let arguments = Arguments::from_args();
        for backend in Backend::ALL {
            if let (Err(missing), false) = (backend.server(), self.require_all) {
                eprintln!("not run: the tests on {}: {missing}", backend.name());
            }
        }
        if let (Err(missing), false) = (Server::script(), self.require_all) {
            eprintln!("not run: the tests that stop a database: {missing}");
        }
        libtest_mimic::run(&arguments, self.trials).exit();
    }
}

fn block_on(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async { tokio::time::timeout(time_limit(), test).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome.map_err(|_| format!("not done after {} s", time_limit().as_secs()).into())
}
