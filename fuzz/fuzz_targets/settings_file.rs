//! Any text as a settings file.

#![no_main]

use std::io::Write;

use identity::settings::{Settings, Stop};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text).expect("written");
    match Settings::from_flags(["--config".as_ref(), file.path().as_os_str()]) {
        Ok(settings) => assert!(!format!("{settings:?}").is_empty()),
        Err(Stop::Help(_)) => panic!("a file cannot ask for help"),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
});
