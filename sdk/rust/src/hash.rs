//! A hash map whose order is the same in every instance.

use std::hash::{BuildHasherDefault, DefaultHasher};

/// A `HashMap` with a fixed seed: two instances that insert the same keys in the same order iterate in the same order.
/// The one of `std` seeds itself, and an operator that iterates over it gives other results each time. Make one with
/// `HashMap::default()`.
///
/// ```
/// use wasmill_sdk::HashMap;
/// let airports: HashMap<&str, &str> = [("JFK", "Kennedy"), ("EWR", "Newark")].into_iter().collect();
/// assert_eq!(airports["EWR"], "Newark");
/// ```
pub type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A `HashSet` with a fixed seed, see [`HashMap`].
///
/// ```
/// use wasmill_sdk::HashSet;
/// let hubs: HashSet<&str> = ["ATL", "ORD"].into_iter().collect();
/// assert!(hubs.contains("ATL"));
/// ```
pub type HashSet<T> = std::collections::HashSet<T, BuildHasherDefault<DefaultHasher>>;
