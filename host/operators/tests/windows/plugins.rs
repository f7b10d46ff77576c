//! Wasm aggregates in windows, played by native ones.
