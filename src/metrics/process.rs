//! What the operating system says about this process, with the names that every Prometheus client has.
//!
//! Linux tells it in `/proc`. Elsewhere these metrics are missing.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::registration::Registration;

/// Parts of a second in `/proc`: USER_HZ, which is 100 on all architectures that Linux still builds for servers.
const TICKS: f64 = 100.0;

/// Name, type and help of each.
const METRICS: [(&str, MetricType, &str); 6] = [
    ("process_cpu_seconds_total", MetricType::Counter, "Total user and system CPU time spent in seconds."),
    ("process_open_fds", MetricType::Gauge, "Number of open file descriptors."),
    ("process_max_fds", MetricType::Gauge, "Maximum number of open file descriptors."),
    ("process_virtual_memory_bytes", MetricType::Gauge, "Virtual memory size in bytes."),
    ("process_resident_memory_bytes", MetricType::Gauge, "Resident memory size in bytes."),
    ("process_start_time_seconds", MetricType::Gauge, "Start time of the process since unix epoch in seconds."),
];

/// Registers the metrics of this process, where there is `/proc`.
pub(super) fn register(registration: &mut Registration) {
    for (name, kind, _) in METRICS {
        registration.describe(name, &[], kind);
    }
    registration.registry.register_collector(Box::new(ProcessCollector));
}

#[derive(Debug)]
struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(values) = read() else { return Ok(()) };
        for ((name, kind, help), value) in METRICS.into_iter().zip(values) {
            let Some(value) = value else { continue };
            let name = name.strip_suffix("_total").unwrap_or(name);
            let metric = encoder.encode_descriptor(name, help, None, kind)?;
            match kind {
                MetricType::Counter => ConstCounter::new(value).encode(metric)?,
                MetricType::Gauge | MetricType::Histogram | MetricType::Info | MetricType::Unknown => {
                    ConstGauge::new(value).encode(metric)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the values of [`METRICS`]. One that cannot be read is missing: all files may be open.
fn read() -> Option<[Option<f64>; METRICS.len()]> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields = Stat::parse(&stat)?;
    // Reading the folder takes one.
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as f64);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let booted = fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted: Option<f64> = booted.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    Some([
        Some(fields.cpu_ticks / TICKS),
        open,
        max_files(&limits),
        Some(fields.virtual_bytes),
        resident_bytes(&status),
        booted.map(|booted| booted + fields.start_ticks / TICKS),
    ])
}

/// The fields of `/proc/self/stat` that are needed.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    virtual_bytes: f64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Self> {
        // The name of the program, in brackets, is the second field, and may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Self { cpu_ticks: number(14)? + number(15)?, start_ticks: number(22)?, virtual_bytes: number(23)? })
    }
}

/// The soft limit of open files in `/proc/self/limits`.
fn max_files(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The resident memory in `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 12345 1048576 200 18446744073709551615";
        let expected = Stat { cpu_ticks: 300.0, start_ticks: 12_345.0, virtual_bytes: 1_048_576.0 };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("7 (a"), None);
        assert_eq!(
            max_files("Max open files            1024                 4096                 files\n"),
            Some(1024.0)
        );
        assert_eq!(max_files("Max open files            unlimited            unlimited            files\n"), None);
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t   300 kB\n"), Some(307_200.0));
    }

    #[test]
    fn this_process_is_measured() {
        let values = read().expect("Linux").map(|value| value.expect("a value"));
        let [cpu, open, _, virtual_bytes, resident, started] = values;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        assert!(cpu >= 0.0 && open >= 3.0 && virtual_bytes > resident && resident > 100_000.0, "{values:?}");
        assert!(started < now + 2.0 && started > now - 3600.0 * 24.0, "{started} {now}");
    }
}
