#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
use std::time::Instant;
use identity::domain::{Email, PhoneNumber, Region};

#[test]
fn email_time() {
    let mut worst = (0.0, String::new());
    let mk: Vec<(&str, Box<dyn Fn(usize) -> String>)> = vec![
        ("paren local", Box::new(|n| format!("{}@x", "(".repeat(n)))),
        ("paren local closed", Box::new(|n| format!("{}a{}@x", "(".repeat(n/2), ")".repeat(n/2)))),
        ("paren domain", Box::new(|n| format!("a@{}", "(".repeat(n)))),
        ("domain dots", Box::new(|n| format!("a@{}!(", "x.".repeat(n/2)))),
        ("domain dots bad end", Box::new(|n| format!("a@{},", "x.x".repeat(n/3)))),
        ("domain dots ok", Box::new(|n| format!("a@{}x", "x.".repeat(n/2)))),
        ("domain xs bad", Box::new(|n| format!("a@{},", "x".repeat(n)))),
        ("domain dash", Box::new(|n| format!("a@{},", "x-".repeat(n/2)))),
        ("domain dashes", Box::new(|n| format!("a@x{},", "-".repeat(n)))),
        ("local dots", Box::new(|n| format!("{},@x", "x.".repeat(n/2)))),
        ("quoted", Box::new(|n| format!("\"{}@x", "\\a".repeat(n/2)))),
        ("literal", Box::new(|n| format!("a@[{}", "\\a".repeat(n/2)))),
    ];
    for (name, f) in &mk {
        for n in (6..=240).step_by(6) {
            let t = f(n);
            let b = Instant::now();
            let r = Email::parse(&t).is_ok();
            let e = b.elapsed().as_secs_f64();
            if e > worst.0 { worst = (e, (*name).to_owned()); }
            if e > 0.02 { println!("{name} n={n} bytes={} ok={r} {e:.3}s", t.len()); if e > 1.0 { break; } }
        }
    }
    println!("worst {worst:?}");
}

#[test]
fn phones_all_regions() {
    let mut rng = fastrand::Rng::with_seed(5);
    let codes: Vec<String> = (b'A'..=b'Z').flat_map(|a| (b'A'..=b'Z').map(move |b| format!("{}{}", a as char, b as char))).collect();
    let regions: Vec<(String, Region)> = codes.into_iter().filter_map(|c| c.parse::<Region>().ok().map(|r| (c, r))).collect();
    println!("{} regions", regions.len());
    let mut bad = std::collections::HashMap::<String, (usize, String)>::new();
    for (code, r) in &regions {
        for _ in 0..1500 {
            let n = rng.usize(3..16);
            let mut t = String::new();
            match rng.u32(0..5) { 0 => t.push('+'), 1 => t.push_str("00"), 2 => t.push('0'), _ => {} }
            for _ in 0..n { t.push((b'0' + rng.u8(0..10)) as char); }
            if let Ok(Some(p)) = PhoneNumber::parse(&t, Some(*r)) {
                let again = PhoneNumber::parse(p.as_str(), Some(*r)).unwrap().unwrap();
                if again != p { let e = bad.entry(code.clone()).or_default(); e.0 += 1; e.1 = format!("{t} -> {} -> {}", p.as_str(), again.as_str()); }
            }
        }
    }
    println!("not a fixed point: {bad:?}");
    for t in ["²","①","⑴","㊀","𝟏","१","𞥐","1\u{200e}2","+１","٠"] { println!("{t:?} {:?}", PhoneNumber::parse(t, None).map(|p| p.map(|p| p.as_str().to_owned()))); }
    for t in ["+49 (0)30 123456","1234567890123456789012345678901", "911", "110", "+999999999", "tel:+1", "0".repeat(32).as_str()] { println!("{t:?} {:?}", PhoneNumber::parse(t, Some("DE".parse().unwrap())).map(|p| p.map(|p| p.as_str().to_owned()))); }
}

#[test]
fn email_all_chars() {
    for c in (0..=0x10ffffu32).filter_map(char::from_u32) {
        for t in [format!("a{c}b@x.de"), format!("a{c}@x.de"), format!("{c}\u{307}@x.de"), format!("a@x{c}.de"), format!("{c}a@x.de"), format!("a{c}\u{345}\u{301}@x.de")] {
            if let Ok(Some(e)) = Email::parse(&t) {
                let again = Email::parse(e.as_str());
                if !matches!(&again, Ok(Some(x)) if x.as_str() == e.as_str()) { println!("NOT FIXED {c:?} {t:?} -> {:?} -> {:?}", e.as_str(), again.map(|x| x.map(|x| x.as_str().to_owned()))); }
            }
        }
    }
}
