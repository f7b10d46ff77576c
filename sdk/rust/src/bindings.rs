//! What `wit-bindgen` makes of `operator.wit`: the raw types and functions under the traits of this crate.
//!
//! One module a world, all of them over the same `types`, so that the traits of this crate know one `Column`. The
//! exports of a world are described by its `export!` macro only, so a component has none but those of its operator.

#![expect(clippy::pedantic, reason = "generated")]
#![expect(
    clippy::mem_forget,
    reason = "generated: what crosses to the host is freed when it has been read"
)]

/// The world `transform`, and what all worlds share.
pub mod transform {
    wit_bindgen::generate!({
        path: "wit",
        world: "transform",
        pub_export_macro: true,
        default_bindings_module: "wasmill_sdk::__private::bindings::transform",
        runtime_path: "wasmill_sdk::__private::wit_bindgen::rt",
        additional_derives: [PartialEq],
    });
}

/// The world `aggregate`.
pub mod aggregate {
    wit_bindgen::generate!({
        path: "wit",
        world: "aggregate",
        pub_export_macro: true,
        default_bindings_module: "wasmill_sdk::__private::bindings::aggregate",
        runtime_path: "wasmill_sdk::__private::wit_bindgen::rt",
        with: {
            "wasmill:operator/types@0.1.0": super::transform::wasmill::operator::types,
            "wasmill:operator/log@0.1.0": super::transform::wasmill::operator::log,
            "wasmill:operator/metrics@0.1.0": super::transform::wasmill::operator::metrics,
        },
    });
}

/// The world `keyed`.
pub mod keyed {
    wit_bindgen::generate!({
        path: "wit",
        world: "keyed",
        pub_export_macro: true,
        default_bindings_module: "wasmill_sdk::__private::bindings::keyed",
        runtime_path: "wasmill_sdk::__private::wit_bindgen::rt",
        with: {
            "wasmill:operator/types@0.1.0": super::transform::wasmill::operator::types,
            "wasmill:operator/log@0.1.0": super::transform::wasmill::operator::log,
            "wasmill:operator/metrics@0.1.0": super::transform::wasmill::operator::metrics,
        },
    });
}

/// The world `window`.
pub mod window {
    wit_bindgen::generate!({
        path: "wit",
        world: "window",
        pub_export_macro: true,
        default_bindings_module: "wasmill_sdk::__private::bindings::window",
        runtime_path: "wasmill_sdk::__private::wit_bindgen::rt",
        with: {
            "wasmill:operator/types@0.1.0": super::transform::wasmill::operator::types,
            "wasmill:operator/log@0.1.0": super::transform::wasmill::operator::log,
            "wasmill:operator/metrics@0.1.0": super::transform::wasmill::operator::metrics,
        },
    });
}

pub use aggregate::exports::wasmill::operator::aggregator;
pub use keyed::exports::wasmill::operator::keyed_operator;
pub use keyed::wasmill::operator::{state, state_types};
pub use transform::exports::wasmill::operator::transformer;
pub use transform::wasmill::operator::types;
#[cfg(target_arch = "wasm32")]
pub use transform::wasmill::operator::{log, metrics};
pub use window::exports::wasmill::operator::window_operator;
