//! Runs operators as WebAssembly components: the only crate that names wasmtime.

mod bindings;
