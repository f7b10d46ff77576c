//! Each rule with a row that would break it.
