//! An SQLite file that the service may read and not write.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use tonic::Code;

use crate::harness::{Api, Backend, Process, Service, Suite, TestDatabase, binary, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Sqlite]): a_file_of_another_user);
}

/// A user that nobody is.
const ANOTHER_USER: u32 = 54_321;

fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("Linux").uid() == 0
}

/// The service without the right to pass over the rights of files, which root has.
fn without_rights_of_root() -> Command {
    let plain = binary();
    if !is_root() {
        return plain;
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-dac_override,-dac_read_search"]);
    command.arg(plain.get_program()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the owner may");
}

async fn a_file_of_another_user(database: TestDatabase) {
    let service = Service::start(&database).await;
    service.caller().identify(Api::Grpc, Some("known@x.de"), None).await.unwrap();
    service.stop().await;
    let path = Path::new(database.url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc"));
    set_mode(path, 0o444);
    if is_root() {
        chown(path, Some(ANOTHER_USER), None).expect("root may");
    }
    let mut process = Process::start_command(without_rights_of_root(), &[("DATABASE_URL", &database.url)]).await;
    let caller = process.caller();
    assert_eq!(caller.get("/readyz").await, 503, "from its first moment");
    assert_eq!(caller.get("/healthz").await, 200);
    for api in Api::BOTH {
        let refusal = caller.identify(api, Some("new@x.de"), None).await.unwrap_err();
        assert_eq!((refusal.code, refusal.retry), (Code::Unavailable, true), "{refusal:?}");
        let known = caller.identify(api, Some("known@x.de"), None).await.expect("it can be read");
        assert_eq!(known.outcome, "matched");
    }
    let body = reqwest::get(format!("http://{}/readyz", process.http)).await.unwrap().text().await.unwrap();
    assert!(body.contains("read-only"), "{body}");
    assert!(!process.log().contains("a panic"), "{}", process.log());

    process.signal("-TERM");
    assert!(process.end().await.success(), "{}", process.log());
}
