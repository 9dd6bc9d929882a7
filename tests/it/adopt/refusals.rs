//! What an adoption refuses, and what it never prints.

use serde_json::json;

use super::{Old, Tables, refusal, run, undo};
use crate::harness::{Api, Backend, Service, Suite, TestDatabase, binary, execute, register};
use crate::old_tables::{OldKind, damaged_rows};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        other_options_are_refused_and_named,
        the_service_waits_for_the_end_and_keeps_what_it_wrote,
        a_target_that_is_not_empty_is_refused,
        a_run_that_writes_nothing_says_whether_the_service_starts,
    );
    register!(suite.on(&[Backend::Sqlite]): a_wrong_command_line_is_refused, a_memory_for_rows_alone_is_refused);
    register!(suite.on(&[Backend::Postgres, Backend::Mysql]): a_password_is_never_printed);
}

/// A small table, without a till.
async fn small(backend: Backend) -> Old {
    Old::make(backend, OldKind::Prisma, &damaged_rows(51, 5)).await
}

async fn other_options_are_refused_and_named(target: TestDatabase) {
    let old = small(target.backend).await;
    assert_eq!(run(&mut old.adopt(&target, &["--apply"])).0, 0);
    let ignore = old.file("ignore");
    for (flags, named) in [
        (&["--max-join", "4"][..], "--max-join"),
        (&["--ignore", &ignore], "--ignore"),
        (&["--phone-region", "DE"], "PHONE_REGION"),
        (&["--map", "deletedAt="], "--map"),
    ] {
        for more in [&[][..], &["--apply"]] {
            let (status, line) = refusal(&mut old.adopt(&target, &[flags, more].concat()));
            assert_eq!(status, 2, "{flags:?}: {line}");
            assert!(line.contains(named) && line.contains("other options"), "{flags:?}: {line}");
        }
    }
    assert_eq!(run(&mut old.adopt(&target, &["--apply"])).0, 0);
    old.drop().await;
}

async fn the_service_waits_for_the_end_and_keeps_what_it_wrote(target: TestDatabase) {
    let old = small(target.backend).await;
    assert_eq!(run(&mut old.adopt(&target, &["--apply"])).0, 0);
    let tables = target.raw().await;
    let serve = || {
        let mut serve = binary();
        serve.arg("serve").env("DATABASE_URL", &target.url).env("RUST_LOG", "off");
        refusal(&mut serve)
    };
    for phase in ["contacts", "identifiers", "merges", "behind", "checking", "undoing"] {
        execute(&tables, &format!(r#"UPDATE "Adoption" SET "phase" = '{phase}'"#)).await;
        let (status, line) = serve();
        assert_eq!((status, line.lines().count()), (3, 1), "{phase}: {line}");
        assert!(line.contains("identity adopt --apply") && line.contains("--undo"), "{phase}: {line}");
    }
    let (status, line) = refusal(&mut old.adopt(&target, &["--apply"]));
    assert!(status == 3 && line.contains("--undo"), "{line}");
    execute(&tables, r#"UPDATE "Adoption" SET "phase" = 'identifiers'"#).await;
    assert_eq!(run(&mut old.adopt(&target, &["--apply"])).0, 0);
    tables.close().await.expect("closed");
    let service = Service::start(&target).await;
    service.caller().identify(Api::Grpc, Some("first@example.org"), None).await.expect("an answer");
    service.stop().await;
    for mut command in [old.adopt(&target, &["--apply"]), undo(&target)] {
        let (status, line) = refusal(&mut command);
        assert_eq!(status, 3, "{line}");
        assert!(line.contains("has written"), "{line}");
    }
    old.drop().await;
}

/// The service starts if the command before did not say that it does not.
async fn check_serve(target: &TestDatabase, is_unfinished: bool) {
    if is_unfinished {
        let mut serve = binary();
        serve.arg("serve").env("DATABASE_URL", &target.url).env("RUST_LOG", "off");
        let (status, line) = refusal(&mut serve);
        assert!(status == 3 && line.contains("identity adopt --apply"), "{line}");
    } else {
        Service::start(target).await.stop().await;
    }
}

async fn a_run_that_writes_nothing_says_whether_the_service_starts(target: TestDatabase) {
    let old = Old::make(target.backend, OldKind::Prisma, &damaged_rows(53, 60)).await;
    let accept = old.file("accept");
    let (dry, apply) = (&[][..], &["--apply"][..]);
    let decided = ["--apply", "--accept", accept.as_str()];
    assert_eq!(run(&mut old.adopt(&target, &decided)).1["is_unfinished"], json!(false));
    for (flags, is_unfinished) in [(dry, false), (apply, true), (dry, true), (apply, true)] {
        let before = Tables::of(&target).await;
        let (status, undecided) = run(&mut old.adopt(&target, flags));
        assert_eq!((status, &undecided["end"]), (1, &json!("decisions_needed")), "{undecided}");
        assert_eq!(undecided["is_unfinished"], json!(is_unfinished), "{flags:?}");
        let text = old.adopt_as("text", &target, flags).output().expect("the binary runs");
        let last = String::from_utf8(text.stdout).expect("text").lines().last().expect("a line").to_owned();
        assert!(last.starts_with("nothing was written"), "{last}");
        assert_eq!(last.contains("`identity serve` does not start"), is_unfinished, "{flags:?}: {last}");
        check_serve(&target, is_unfinished).await;
        assert!(Tables::of(&target).await == before, "{flags:?}: nothing was written");
        let (_, again) = run(&mut old.adopt(&target, &["--accept", accept.as_str()]));
        assert_eq!((&again["end"], &again["is_unfinished"]), (&json!("dry_run"), &json!(is_unfinished)));
    }
    assert_eq!(run(&mut old.adopt(&target, &decided)).1["is_unfinished"], json!(false));
    check_serve(&target, false).await;
    // An error takes `done` back too.
    for _ in 0..2 {
        let (status, line) = refusal(&mut old.adopt(&target, &[&decided[..], &["--memory", "100"]].concat()));
        assert!(status == 2 && line.contains("--memory allows"), "{line}");
        assert!(line.contains("`identity serve` does not start"), "{line}");
        check_serve(&target, true).await;
    }
    let (status, line) = refusal(&mut old.adopt(&target, &["--accept", accept.as_str(), "--memory", "100"]));
    assert!(status == 2 && !line.contains("identity serve"), "a dry run takes nothing back: {line}");
    old.drop().await;
}

async fn a_target_that_is_not_empty_is_refused(target: TestDatabase) {
    let old = small(target.backend).await;
    let service = Service::start(&target).await;
    service.caller().identify(Api::Grpc, Some("first@example.org"), None).await.expect("an answer");
    service.stop().await;
    for flags in [&[][..], &["--apply"]] {
        let (status, line) = refusal(&mut old.adopt(&target, flags));
        assert_eq!(status, 3, "{line}");
        assert!(line.contains("database of its own"), "{line}");
    }
    // The database of the old table is no target.
    for flags in [&[][..], &["--apply"]] {
        let (status, line) = refusal(&mut old.adopt(&old.database, flags));
        assert_eq!(status, 3, "{line}");
        assert!(line.contains("of its own"), "{line}");
    }
    old.drop().await;
}

async fn a_wrong_command_line_is_refused(target: TestDatabase) {
    let old = small(target.backend).await;
    let wrong = old.file("wrong");
    std::fs::write(&wrong, "phone 1\nnobody@example.com\n").expect("a file");
    for (flags, named) in [
        (&["--ignore", wrong.as_str()][..], "line 2"),
        (&["--accept", wrong.as_str()], "line 2"),
        (&["--memory", "100"], "--memory allows"),
        (&["--memory", "much"], "--memory: must be"),
        (&["--table", "Nothing"], "--table"),
        (&["--apply", "--table", "Nothing"], "--table"),
        (&["--apply", "--changed-primaries", "/nowhere/changed.csv"], "--changed-primaries"),
        (&["--map", "email=nothing"], "email"),
        (&["--time-zone", "Mars"], "--time-zone"),
        (&["--apply", "--undo"], "a flag that it excludes"),
        (&["--database-url", "sqlite::memory:"], "in memory"),
    ] {
        let (status, line) = refusal(&mut old.adopt(&target, flags));
        assert_eq!(status, 2, "{flags:?}: {line}");
        assert!(line.contains(named), "{flags:?}: {line}");
        assert!(!line.contains("nobody@"), "{line}");
    }
    let path = target.url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc");
    assert!(!std::path::Path::new(path).exists(), "a wrong command line makes no file");
    let mut without_url = old.adopt(&target, &[]);
    without_url.env_remove("ADOPT_FROM");
    assert_eq!(refusal(&mut without_url).0, 2);
    let file = old.file("url");
    std::fs::write(&file, format!("{}\n", old.database.url)).expect("a file");
    let mut from_file = old.adopt(&target, &["--from-file", &file]);
    from_file.env_remove("ADOPT_FROM");
    let (status, dry) = run(&mut from_file);
    assert_eq!((status, &dry["end"]), (0, &json!("dry_run")));
    old.drop().await;
}

/// What joins need counts too. All rows are of one customer, by both kinds.
async fn a_memory_for_rows_alone_is_refused(target: TestDatabase) {
    let mut rows = damaged_rows(54, 100);
    for row in &mut rows {
        (row.email, row.phone_number) = (Some("one@example.com".to_owned()), Some("123".to_owned()));
        (row.linked_id, row.is_secondary, row.deleted_at) = (None, false, None);
    }
    let old = Old::make(target.backend, OldKind::Prisma, &rows).await;
    // A decision that is missing comes first: with it, less may be enough.
    let output = old.adopt(&target, &["--memory", "6500"]).output().expect("the binary runs");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && report.contains("over_max_join"), "{report}");
    for (memory, suffices) in [("6499", false), ("6500", false), ("20000", false), ("30000", true)] {
        let mut command = old.adopt(&target, &["--max-join", "200", "--memory", memory]);
        let output = command.output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(if suffices { 0 } else { 2 }), "{memory}: {said}");
        assert!(suffices || said.contains("--memory allows"), "{memory}: {said}");
    }
    old.drop().await;
}

async fn a_password_is_never_printed(target: TestDatabase) {
    let old = small(target.backend).await;
    let mut url = url::Url::parse(&old.database.url).expect("a URL");
    url.set_password(Some("not-the-password")).expect("a host");
    for from in [url.as_str(), "mysql://me:not-the-password@/", "ftp://me:not-the-password@host/name"] {
        let mut command = old.adopt(&target, &["--apply"]);
        let output = command.env("ADOPT_FROM", from).env("RUST_LOG", "debug").output().expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success() && !said.contains("not-the-password"), "{said}");
    }
    old.drop().await;
}
