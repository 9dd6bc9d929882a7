//! Floods of failed calls: a client that resets its calls makes a line for each with little effort.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::sleep;
use tonic::Code;

use super::failure::Severity;
use crate::listener::api::Api;
use crate::telemetry::{Sampled, Sampler};
use crate::transport::call_outcome::code_name;

/// Lines of each code that are written in a [`PERIOD`].
const LINES: u32 = 100;

/// The time for which calls are counted.
const PERIOD: Duration = Duration::from_secs(1);

/// How many codes there are.
const CODES: u8 = 17;

/// Decides which failed calls of an API are logged: the first ones of each code and second. One line says how many
/// were left out.
#[derive(Debug)]
pub(super) struct FailureSample {
    api: Api,
    /// By the number of the code.
    samplers: [Sampler; CODES as usize],
}

/// The same line at every level, which has to be a constant.
macro_rules! report {
    ($level:expr, $api:expr, $code:expr, $calls:expr) => {
        tracing::event!(
            $level,
            api = $api.name(),
            rpc.response.status_code = code_name($code),
            calls = $calls,
            "failed calls left out of the log"
        )
    };
}

impl FailureSample {
    pub(super) fn new(api: Api) -> Arc<Self> {
        Arc::new(Self { api, samplers: std::array::from_fn(|_| Sampler::new(LINES, PERIOD)) })
    }

    /// Returns whether a call that ended with this code is logged.
    pub(super) fn is_logged(self: &Arc<Self>, code: Code) -> bool {
        if code == Code::Ok || !tracing::enabled!(tracing::Level::ERROR) {
            return true;
        }
        match self.samplers[code as usize].sample(Instant::now()) {
            Sampled::Written => true,
            Sampled::LeftOut { is_first } => {
                if is_first {
                    self.report_later(code);
                }
                false
            }
        }
    }

    /// Reports after the second. Without a runtime, which is then shutting down, `drop` reports.
    fn report_later(self: &Arc<Self>, code: Code) {
        let Ok(runtime) = Handle::try_current() else { return };
        let sample = Arc::downgrade(self);
        runtime.spawn(async move {
            sleep(PERIOD).await;
            if let Some(sample) = sample.upgrade() {
                sample.report(code);
            }
        });
    }

    fn report(&self, code: Code) {
        let calls = self.samplers[code as usize].take_left_out();
        if calls > 0 {
            // The most that one of them may matter. The reason is not known here: it counts for UNAVAILABLE and
            // DEADLINE_EXCEEDED.
            match Severity::new(code, Some("DATABASE_UNAVAILABLE"), false) {
                Severity::Info => report!(tracing::Level::INFO, self.api, code, calls),
                Severity::Warn => report!(tracing::Level::WARN, self.api, code, calls),
                Severity::Error => report!(tracing::Level::ERROR, self.api, code, calls),
            }
        }
    }
}

impl Drop for FailureSample {
    fn drop(&mut self) {
        (0..CODES).for_each(|code| self.report(Code::from_i32(code.into())));
    }
}
