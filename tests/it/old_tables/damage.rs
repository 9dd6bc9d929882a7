//! Rows with the damage that years of use leave in them.

use super::{BEGINNING, DAY, FUTURE, MadeRow};

/// Rows as years of use leave them, in the order of their ids, the same for the same seed: chains, cycles, links to
/// rows that are gone or deleted, two primaries that share a phone number, a till's number on eight strangers,
/// spellings of the same e-mail address, `''` and `NULL` for nothing, texts that are no phone number, dates that are
/// missing, in the future, and out of the order of ids.
pub fn damaged_rows(seed: u64, count: usize) -> Vec<MadeRow> {
    let mut random = fastrand::Rng::with_seed(seed);
    let people = (count / 3).max(1);
    let mut rows: Vec<MadeRow> = Vec::with_capacity(count);
    // The rows of each person, by position.
    let mut of_person: Vec<Vec<usize>> = vec![Vec::new(); people];
    let mut id = 0;
    for position in 0..count {
        // Some ids are gone.
        id += if random.u8(..) < 10 { random.i64(2..5) } else { 1 };
        let person = random.usize(..people);
        let created = BEGINNING + random.i64(0..170 * DAY);
        let before = &of_person[person];
        let linked_id = match (before.is_empty(), random.u8(..100)) {
            (true, 0..3) => Some(id + 1_000_000_000), // broken
            (true, 3..4) => Some(id),                 // itself
            (true, _) => None,
            (false, 0..12) => None, // two primaries of one person
            (false, 12..30) => before.last().map(|&last| rows[last].id), // a chain
            (false, 30..33) => Some(id - 1), // of somebody else, or gone
            (false, _) => before.first().map(|&first| rows[first].id),
        };
        let is_secondary = if random.u8(..100) < 2 { linked_id.is_none() } else { linked_id.is_some() };
        let deleted_at = (random.u8(..100) < 6).then(|| created + random.i64(0..10 * DAY));
        let created_at = match random.u8(..100) {
            0..2 => None,
            2..3 => Some(FUTURE + random.i64(0..DAY)),
            _ => Some(created),
        };
        let updated_at = (random.u8(..100) >= 2).then(|| created + random.i64(0..10 * DAY));
        of_person[person].push(position);
        rows.push(MadeRow {
            id,
            email: made_email(&mut random, person),
            phone_number: made_phone(&mut random, person, position, count),
            linked_id,
            is_secondary,
            created_at,
            updated_at,
            deleted_at,
        });
    }
    // Cycles: the first row of a person is linked to the last.
    for positions in of_person.iter().filter(|positions| positions.len() > 2) {
        if random.u8(..100) < 5 {
            let last = rows[positions[positions.len() - 1]].id;
            rows[positions[0]].linked_id = Some(last);
        }
    }
    rows
}

fn made_email(random: &mut fastrand::Rng, person: usize) -> Option<String> {
    let plain = format!("p{person}.{}@example.com", random.u8(..2));
    match random.u8(..100) {
        0..12 => None,
        12..20 => Some(String::new()),
        20..24 => Some(plain.to_uppercase()),
        24..27 => Some(format!(" {plain} ")),
        27..29 => Some(format!("Jose\u{301}{person}@example.com")),
        29..30 => Some("NULL".to_owned()),
        _ => Some(plain),
    }
}

fn made_phone(random: &mut fastrand::Rng, person: usize, position: usize, count: usize) -> Option<String> {
    // Eight strangers share the number of a till.
    if position.is_multiple_of((count / 8).max(1)) && position / (count / 8).max(1) < 8 {
        return Some("0000000000".to_owned());
    }
    let number = format!("{:09}", person * 10 + usize::from(random.u8(..2)));
    match random.u8(..100) {
        0..20 => None,
        20..26 => Some(String::new()),
        26..30 => Some("new123".to_owned()),
        30..34 => Some(format!("+1 ({}) {}-{}", &number[..3], &number[3..6], &number[6..])),
        // Of the person before: two primaries share it.
        34..36 => Some(format!("{:09}", person.saturating_sub(1) * 10)),
        36..37 => Some("NULL".to_owned()),
        _ => Some(number),
    }
}
