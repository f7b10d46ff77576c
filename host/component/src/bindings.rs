//! The host's side of `wit/`, generated. Parameters are borrowed, so that columns go from Arrow's buffers into the
//! guest's memory in one copy.

wasmtime::component::bindgen!({
    path: ["../../wit", "../../wit/host"],
    world: "wasmill:host-side/host-side",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
});
