//! stub
use crate::format::{Block, DecodeSpec, Decoded, Decoder};
use wasmill_core::fault::Fault;
use wasmill_core::plan::SourceColumn;
pub(super) struct JsonDecoder;
impl JsonDecoder {
    pub(super) fn new(_: &DecodeSpec) -> Result<Self, Fault> {
        Err(Fault::fatal(
            wasmill_core::fault::Domain::Internal,
            "JSON cannot be read yet",
        ))
    }
}
impl Decoder for JsonDecoder {
    fn decode(&mut self, _: &Block) -> Result<Decoded, Fault> {
        Ok(Decoded::default())
    }
}
pub(super) fn conflicts(_: &[SourceColumn]) -> impl Iterator<Item = (usize, String)> {
    std::iter::empty()
}
