//! Events of an online auction: Tucker, Tufte, Papadimos and Maier, "`NEXMark`, a benchmark for queries over data
//! streams" (2008), in the proportions of its later implementations: of 50 events 1 is a person, 3 are auctions and 46
//! are bids, 100 us apart; bids prefer the auctions and bidders of the moment.
//!
//! Unlike those implementations an event here is a function of the seed and its number, so any stretch of the stream can
//! be made by itself. The pseudo-random numbers are those of splitmix64.

mod encode;
mod random;

use wasmill_core::schema::{DataType, Field, Schema};

pub(crate) use self::encode::columns;
pub use self::encode::ndjson;
use self::random::Random;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Microseconds since the Unix epoch.
    pub time: i64,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Someone joins.
    Person(Person),
    /// Someone offers an item.
    Auction(Auction),
    /// Someone bids.
    Bid(Bid),
}

/// Someone who joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// From [`FIRST_PERSON`] on.
    pub id: i64,
    /// First and last name.
    pub name: String,
    /// An address that leads nowhere.
    pub email: String,
    /// Four groups of four digits.
    pub credit_card: String,
    /// Where the person lives.
    pub city: &'static str,
    /// Two letters.
    pub state: &'static str,
    /// Filling.
    pub extra: String,
}

/// An item that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auction {
    /// From [`FIRST_AUCTION`] on.
    pub id: i64,
    /// The item's name.
    pub item: String,
    /// More about it.
    pub description: String,
    /// The lowest first bid, in cents.
    pub initial_bid: i64,
    /// What the seller wants at least, in cents.
    pub reserve: i64,
    /// When bidding ends, in microseconds since the Unix epoch.
    pub expires: i64,
    /// A person.
    pub seller: i64,
    /// 10 to 14.
    pub category: i64,
    /// Filling.
    pub extra: String,
}

/// A bid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bid {
    /// An auction.
    pub auction: i64,
    /// A person.
    pub bidder: i64,
    /// In cents.
    pub price: i64,
    /// How the bidder came: one of four large channels half of the time, else one of ten thousand.
    pub channel: String,
    /// Where the bid was made.
    pub url: String,
    /// Filling.
    pub extra: String,
}

/// The least id of a person.
pub const FIRST_PERSON: i64 = 1_000;
/// The least id of an auction.
pub const FIRST_AUCTION: i64 = 1_000;

const MICROS_PER_EVENT: i64 = 100;
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const EVENTS: u64 = 50;
const CATEGORIES: u64 = 5;
/// One in so many sellers, bidders and auctions is not the one of the moment.
const COLD_ONE_IN: u64 = 100;
/// So many bids in turn prefer one bidder, and one auction.
const HOT_SPAN: i64 = 100;
/// Persons who still take part, and auctions that are still open.
const ACTIVE_PERSONS: i64 = 1_000;
const ACTIVE_AUCTIONS: i64 = 100;
/// The average length of the filling: it brings a JSON line to about 285 bytes.
const EXTRA_LEN: u64 = 43;

const FIRST_NAMES: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: [&str; 9] = [
    "Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris",
];
const CITIES: [(&str, &str); 10] = [
    ("Phoenix", "AZ"),
    ("Los Angeles", "CA"),
    ("San Francisco", "CA"),
    ("Boise", "ID"),
    ("Portland", "OR"),
    ("Bend", "OR"),
    ("Redmond", "WA"),
    ("Seattle", "WA"),
    ("Kent", "WA"),
    ("Cheyenne", "WY"),
];
const CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// The columns of all kinds of events beside each other; those of the other kinds are null.
pub fn schema() -> Schema {
    use DataType::{Int64, Timestamp, Utf8};
    let mut fields = vec![Field::required("kind", Utf8), Field::required("time", Timestamp)];
    fields.extend(
        [
            ("person_id", Int64),
            ("person_name", Utf8),
            ("person_email", Utf8),
            ("person_credit_card", Utf8),
            ("person_city", Utf8),
            ("person_state", Utf8),
            ("person_extra", Utf8),
            ("auction_id", Int64),
            ("auction_item", Utf8),
            ("auction_description", Utf8),
            ("auction_initial_bid", Int64),
            ("auction_reserve", Int64),
            ("auction_expires", Timestamp),
            ("auction_seller", Int64),
            ("auction_category", Int64),
            ("auction_extra", Utf8),
            ("bid_auction", Int64),
            ("bid_bidder", Int64),
            ("bid_price", Int64),
            ("bid_channel", Utf8),
            ("bid_url", Utf8),
            ("bid_extra", Utf8),
        ]
        .map(|(name, data_type)| Field::nullable(name, data_type)),
    );
    Schema::new(fields).expect("the names differ")
}

/// The event of this number in the stream of this seed, which begins at `start`.
pub fn event(seed: u64, start: i64, number: u64) -> Event {
    let mut random = Random::new(seed, number);
    let count = i64::try_from(number).unwrap_or(i64::MAX);
    let time = start.saturating_add(count.saturating_mul(MICROS_PER_EVENT));
    let what = match number % EVENTS {
        place if place < PERSONS => What::Person(person(&mut random, number)),
        place if place < PERSONS + AUCTIONS => What::Auction(auction(&mut random, number, time)),
        _ => What::Bid(bid(&mut random, number)),
    };
    Event { time, what }
}

/// The id of the newest person at the event of this number.
fn newest_person(number: u64) -> i64 {
    FIRST_PERSON + (number / EVENTS * PERSONS) as i64
}

/// The id of the newest auction at the event of this number. The first is there before its event, so that no bid is for
/// none.
fn newest_auction(number: u64) -> i64 {
    let before = number / EVENTS * AUCTIONS;
    let of_round = (number % EVENTS).saturating_sub(PERSONS).min(AUCTIONS - 1);
    FIRST_AUCTION + (before + of_round) as i64
}

/// One of the last `active` ids up to `newest`.
fn recent(random: &mut Random, first: i64, newest: i64, active: i64) -> i64 {
    let known = (newest - first + 1).min(active);
    newest - random.below(known as u64) as i64
}

/// Mostly the id that is preferred at the moment, else a recent one.
fn preferred(random: &mut Random, first: i64, newest: i64, active: i64) -> i64 {
    if random.below(COLD_ONE_IN) > COLD_ONE_IN / 2 {
        first + (newest - first) / HOT_SPAN * HOT_SPAN
    } else {
        recent(random, first, newest, active)
    }
}

fn price(random: &mut Random) -> i64 {
    // Prices spread over six orders of magnitude, as many between 1 and 10 as between 10 and 100: by integers alone, so
    // that they are the same on every machine.
    let magnitude = 10_u64.pow(random.below(6) as u32);
    (magnitude * (100 + random.below(900))) as i64
}

fn person(random: &mut Random, number: u64) -> Person {
    let first = random.pick(&FIRST_NAMES);
    let last = random.pick(&LAST_NAMES);
    let (city, state) = random.pick(&CITIES);
    let card = random.below(10_u64.pow(16));
    let group = |place: u32| card / 10_000_u64.pow(place) % 10_000;
    Person {
        id: newest_person(number),
        name: format!("{first} {last}"),
        email: format!("{}@{}.com", random.letters(7), random.letters(5)),
        credit_card: format!("{:04} {:04} {:04} {:04}", group(3), group(2), group(1), group(0)),
        city,
        state,
        extra: random.filling(EXTRA_LEN),
    }
}

fn auction(random: &mut Random, number: u64, time: i64) -> Auction {
    const OPEN_EVENTS: u64 = 2 * ACTIVE_AUCTIONS as u64 * EVENTS / AUCTIONS;
    let initial_bid = price(random);
    Auction {
        id: newest_auction(number),
        item: random.letters(20),
        description: random.letters(100),
        initial_bid,
        reserve: initial_bid.saturating_add(price(random)),
        expires: time.saturating_add((1 + random.below(OPEN_EVENTS) as i64) * MICROS_PER_EVENT),
        seller: preferred(random, FIRST_PERSON, newest_person(number), ACTIVE_PERSONS),
        category: 10 + random.below(CATEGORIES) as i64,
        extra: random.filling(EXTRA_LEN),
    }
}

fn bid(random: &mut Random, number: u64) -> Bid {
    let auction = preferred(random, FIRST_AUCTION, newest_auction(number), ACTIVE_AUCTIONS);
    let bidder = preferred(random, FIRST_PERSON, newest_person(number), ACTIVE_PERSONS);
    let channel = if random.below(2) == 0 {
        random.pick(&CHANNELS).to_owned()
    } else {
        format!("channel-{}", random.below(10_000))
    };
    Bid {
        auction,
        bidder,
        price: price(random),
        url: format!(
            "https://www.nexmark.com/{}/{}/item.htm?query=1&channel_id={}",
            random.letters(5),
            random.letters(5),
            random.below(1 << 30)
        ),
        channel,
        extra: random.filling(EXTRA_LEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_in_the_proportions_of_the_benchmark() {
        let mut counts = [0; 3];
        for number in 0..5_000 {
            counts[match event(1, 0, number).what {
                What::Person(_) => 0,
                What::Auction(_) => 1,
                What::Bid(_) => 2,
            }] += 1;
        }
        assert_eq!(counts, [100, 300, 4_600]);
    }

    #[test]
    fn bids_and_auctions_name_what_was_there_before() {
        let (mut persons, mut auctions) = (FIRST_PERSON..FIRST_PERSON, FIRST_AUCTION..FIRST_AUCTION);
        for number in 0..20_000 {
            match event(7, 0, number).what {
                What::Person(person) => {
                    assert_eq!(person.id, persons.end);
                    persons.end += 1;
                }
                What::Auction(auction) => {
                    assert_eq!(auction.id, auctions.end);
                    assert!(persons.contains(&auction.seller));
                    assert!(auction.reserve > auction.initial_bid && auction.initial_bid > 0);
                    auctions.end += 1;
                }
                What::Bid(bid) => {
                    assert!(auctions.contains(&bid.auction), "{number}");
                    assert!(persons.contains(&bid.bidder));
                    assert!(bid.price > 0);
                }
            }
        }
    }

    #[test]
    fn an_event_is_a_function_of_seed_start_and_number() {
        assert_eq!(event(3, 5, 1_234), event(3, 5, 1_234));
        assert_ne!(event(3, 5, 1_234), event(4, 5, 1_234));
        assert_eq!(event(3, 5, 1_234).time, 5 + 123_400);
        let far = event(3, 0, u64::MAX / 100);
        assert_eq!(far.time, i64::MAX);
    }
}
