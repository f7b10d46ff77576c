//! The exports of a component: the glue between the generated bindings and the drivers.

/// Implements the exports of the world `transform`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_transform {
    ($operator:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::__private::{
                bindings::{transformer, types},
                opened, panic, transform,
            };

            struct Component;

            ::std::thread_local! {
                static OPERATOR: opened::Slot<transform::Opened<$operator>> = const { opened::Slot::new() };
            }

            impl transformer::Guest for Component {
                fn describe(
                    config: ::std::string::String,
                    inputs: ::std::vec::Vec<types::Input>,
                ) -> ::std::result::Result<transformer::Description, types::Failure> {
                    panic::report();
                    transform::describe::<$operator>(&config, &inputs)
                }

                fn open(
                    config: ::std::string::String,
                    inputs: ::std::vec::Vec<types::Input>,
                ) -> ::std::result::Result<(), types::Failure> {
                    panic::report();
                    OPERATOR.with(|slot| opened::set(slot, transform::open(&config, &inputs)?))
                }

                fn process(
                    _input: u32,
                    batch: types::Batch,
                ) -> ::std::result::Result<transformer::Outputs, types::Failure> {
                    OPERATOR.with(|slot| opened::get(slot)?.process(batch))
                }
            }

            $crate::__private::bindings::transform::export!(
                Component with_types_in $crate::__private::bindings::transform
            );
        };
    };
}

/// Implements the exports of the world `aggregate`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_aggregate {
    ($operator:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::__private::{
                aggregate,
                bindings::{aggregator, types},
                opened, panic,
            };

            struct Component;

            ::std::thread_local! {
                static OPERATOR: opened::Slot<aggregate::Opened<$operator>> = const { opened::Slot::new() };
            }

            impl aggregator::Guest for Component {
                fn describe(
                    config: ::std::string::String,
                    input: types::Input,
                ) -> ::std::result::Result<aggregator::Description, types::Failure> {
                    panic::report();
                    aggregate::describe::<$operator>(&config, &input)
                }

                fn open(
                    config: ::std::string::String,
                    input: types::Input,
                ) -> ::std::result::Result<(), types::Failure> {
                    panic::report();
                    OPERATOR.with(|slot| opened::set(slot, aggregate::open(&config, &input)?))
                }

                fn accumulate(
                    batch: types::Batch,
                    group_of_row: ::std::vec::Vec<u8>,
                    accumulators: ::std::vec::Vec<types::Column>,
                ) -> ::std::result::Result<aggregator::Accumulated, types::Failure> {
                    OPERATOR.with(|slot| opened::get(slot)?.accumulate(batch, group_of_row, accumulators))
                }

                fn merge(
                    earlier: ::std::vec::Vec<types::Column>,
                    later: ::std::vec::Vec<types::Column>,
                ) -> ::std::result::Result<::std::vec::Vec<types::Column>, types::Failure> {
                    OPERATOR.with(|slot| opened::get(slot)?.merge(earlier, later))
                }

                fn finish(
                    _keys: ::std::vec::Vec<types::Column>,
                    bounds: aggregator::GroupBounds,
                    accumulators: ::std::vec::Vec<types::Column>,
                ) -> ::std::result::Result<::std::vec::Vec<types::Column>, types::Failure> {
                    OPERATOR.with(|slot| opened::get(slot)?.finish(bounds, accumulators))
                }
            }

            $crate::__private::bindings::aggregate::export!(
                Component with_types_in $crate::__private::bindings::aggregate
            );
        };
    };
}

/// Implements the exports of the world `keyed`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_keyed {
    ($operator:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::__private::{
                bindings::{keyed_operator, types},
                keyed, opened, panic,
            };

            struct Component;

            ::std::thread_local! {
                static OPERATOR: opened::Slot<keyed::Opened<$operator>> = const { opened::Slot::new() };
            }

            impl keyed_operator::Guest for Component {
                fn describe(
                    config: ::std::string::String,
                    inputs: ::std::vec::Vec<types::Input>,
                    key: ::std::vec::Vec<::std::string::String>,
                ) -> ::std::result::Result<keyed_operator::Description, types::Failure> {
                    panic::report();
                    keyed::describe::<$operator>(&config, &inputs, &key)
                }

                fn open(
                    config: ::std::string::String,
                    inputs: ::std::vec::Vec<types::Input>,
                    key: ::std::vec::Vec<::std::string::String>,
                ) -> ::std::result::Result<(), types::Failure> {
                    panic::report();
                    OPERATOR.with(|slot| opened::set(slot, keyed::open(&config, &inputs, &key)?))
                }

                fn process(
                    call: keyed_operator::Call,
                ) -> ::std::result::Result<keyed_operator::Outputs, types::Failure> {
                    OPERATOR.with(|slot| opened::get(slot)?.process(call))
                }
            }

            $crate::__private::bindings::keyed::export!(
                Component with_types_in $crate::__private::bindings::keyed
            );
        };
    };
}

/// Implements the exports of the world `window`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_window {
    ($operator:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::__private::{
                bindings::{types, window_operator},
                opened, panic, window,
            };

            struct Component;

            ::std::thread_local! {
                static OPERATOR: opened::Slot<window::Opened<$operator>> = const { opened::Slot::new() };
            }

            impl window_operator::Guest for Component {
                fn describe(
                    config: ::std::string::String,
                    input: types::Input,
                    key: ::std::vec::Vec<::std::string::String>,
                ) -> ::std::result::Result<window_operator::Description, types::Failure> {
                    panic::report();
                    window::describe::<$operator>(&config, &input, &key)
                }

                fn open(
                    config: ::std::string::String,
                    input: types::Input,
                    key: ::std::vec::Vec<::std::string::String>,
                ) -> ::std::result::Result<(), types::Failure> {
                    panic::report();
                    OPERATOR.with(|slot| opened::set(slot, window::open(&config, &input, &key)?))
                }

                fn process(
                    firings: window_operator::Firings,
                    batch: types::Batch,
                ) -> ::std::result::Result<window_operator::Outputs, types::Failure> {
                    OPERATOR.with(|slot| opened::get(slot)?.process(firings, batch))
                }
            }

            $crate::__private::bindings::window::export!(
                Component with_types_in $crate::__private::bindings::window
            );
        };
    };
}

/// The operator of an instance, from `open` on.
pub mod opened {
    use std::cell::OnceCell;

    use crate::{bindings::types::Failure as WitFailure, fault::Failure};

    /// Empty until `open`.
    pub type Slot<T> = OnceCell<T>;

    /// Keeps what `open` made.
    ///
    /// # Errors
    ///
    /// When it is called a second time.
    pub fn set<T>(slot: &Slot<T>, operator: T) -> Result<(), WitFailure> {
        slot.set(operator)
            .map_err(|_| Failure::new("`open` was called twice in one instance").into_wit())
    }

    /// What `open` made.
    ///
    /// # Errors
    ///
    /// When it has not been called.
    pub fn get<T>(slot: &Slot<T>) -> Result<&T, WitFailure> {
        slot.get()
            .ok_or_else(|| Failure::new("a call came before `open`").into_wit())
    }
}

/// Panics in a component.
pub mod panic {
    use std::sync::Once;

    use crate::log::{self, Level};

    static HOOK: Once = Once::new();

    /// Makes a panic say its message and place in the host's log before it traps.
    pub fn report() {
        HOOK.call_once(|| {
            std::panic::set_hook(Box::new(|panic| {
                let message = panic.payload_as_str().unwrap_or("the operator panicked");
                match panic.location() {
                    Some(at) => log::write(Level::Error, &format!("panic: {message}"), &[("at", at)]),
                    None => log::write(Level::Error, &format!("panic: {message}"), &[]),
                }
            }));
        });
    }
}
