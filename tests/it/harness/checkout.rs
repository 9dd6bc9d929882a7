//! Realistic checkout events, the same for the same seed.

use std::collections::HashSet;

use fastrand::Rng;

/// What one checkout sends, as the customer typed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub email: Option<String>,
    pub phone: Option<String>,
}

impl Event {
    /// One that has what is not empty.
    pub fn of(email: &str, phone: &str) -> Self {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self { email: given(email), phone: given(phone) }
    }
}

struct Customer {
    /// Most have one address; some move on to another, or use two.
    emails: Vec<String>,
    phones: Vec<String>,
}

/// A shop's stream of checkouts: customers come back, families share a phone, gifts go to another phone,
/// people type as they like, and some give an e-mail or a phone alone.
pub struct Checkouts {
    random: Rng,
    customers: Vec<Customer>,
}

/// How many orders the average customer makes.
const ORDERS_PER_CUSTOMER: usize = 4;

impl Checkouts {
    pub fn seeded(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), customers: Vec::new() }
    }

    /// The next events.
    pub fn take(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.next()).collect()
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.u32(0..n) == 0
    }

    fn next(&mut self) -> Event {
        let customer = if self.customers.is_empty() || self.random.usize(0..ORDERS_PER_CUSTOMER) == 0 {
            self.sign_up()
        } else {
            self.random.usize(0..self.customers.len())
        };
        if self.one_in(25) {
            self.change_something(customer);
        }
        let emails = self.customers[customer].emails.clone();
        let phones = self.customers[customer].phones.clone();
        let email = self.random.choice(&emails).cloned();
        let mut phone = self.random.choice(&phones).cloned();
        if self.one_in(60) {
            // A gift: the phone of its receiver.
            let other = self.random.usize(0..self.customers.len());
            phone = self.customers[other].phones.first().cloned();
        }
        let (email, phone) = match self.random.u32(0..10) {
            0 => (email, None),
            1 => (None, phone),
            _ => (email, phone),
        };
        Event { email: email.map(|email| self.type_email(&email)), phone: phone.map(|phone| self.type_phone(&phone)) }
    }

    fn sign_up(&mut self) -> usize {
        let number = self.customers.len();
        let family = (number > 0 && self.one_in(12)).then(|| self.random.usize(0..number));
        let phone = match family {
            Some(member) => self.customers[member].phones[0].clone(),
            None => self.new_phone(),
        };
        let email = self.new_email();
        self.customers.push(Customer { emails: vec![email], phones: vec![phone] });
        number
    }

    fn change_something(&mut self, customer: usize) {
        if self.random.bool() {
            let email = self.new_email();
            self.customers[customer].emails.push(email);
        } else {
            let phone = self.new_phone();
            self.customers[customer].phones.push(phone);
        }
    }

    fn new_email(&mut self) -> String {
        const NAMES: [&str; 8] = ["lorraine", "george", "mcfly", "biff", "jennifer", "josé", "zoë", "straße"];
        const DOMAINS: [&str; 4] = ["hillvalley.edu", "example.com", "mail.example.org", "bücher.example"];
        let (name, domain) = (self.random.choice(NAMES), self.random.choice(DOMAINS));
        format!("{}.{}@{}", name.unwrap_or("doc"), self.random.u32(..), domain.unwrap_or("example.net"))
    }

    fn new_phone(&mut self) -> String {
        format!("+4930{}", self.random.u32(1_000_000..100_000_000))
    }

    fn type_email(&mut self, email: &str) -> String {
        match self.random.u32(0..8) {
            0 => email.to_uppercase().replace("SS", "ß"), // Upper case of ß is SS, which would be somebody else.
            1 => format!(" {email}"),
            2 => format!("{email}\t "),
            _ => email.to_owned(),
        }
    }

    fn type_phone(&mut self, phone: &str) -> String {
        let (country, rest) = phone.split_at(5);
        match self.random.u32(0..6) {
            0 => format!("{country} {rest}"),
            1 => format!("{country}/{rest}"),
            2 => format!("{country} ({}) {}", &rest[..2], &rest[2..]),
            3 => format!(" {phone} "),
            _ => phone.to_owned(),
        }
    }
}

/// What a stream is worth as a test: it has all the cases it should.
pub fn check_variety(events: &[Event]) {
    let count = |case: fn(&Event) -> bool| events.iter().filter(|event| case(event)).count();
    let some = events.len() / 20;
    assert!(count(|event| event.email.is_none()) > some, "phone-only events");
    assert!(count(|event| event.phone.is_none()) > some, "e-mail-only events");
    assert!(count(|event| event.email.as_ref().is_some_and(|email| email.trim() != email)) > some, "spaces");
    assert!(count(|event| event.phone.as_ref().is_some_and(|phone| phone.contains('('))) > some, "separators");
    let addresses = events.iter().filter_map(|event| event.email.as_ref());
    let distinct: HashSet<String> = addresses.clone().map(|email| email.trim().to_lowercase()).collect();
    assert!(distinct.len() * 2 < addresses.count(), "customers come back");
}
