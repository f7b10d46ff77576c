//! Built-in operators as pure state machines: windows and their aggregates.

mod exact;
