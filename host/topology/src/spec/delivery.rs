//! `delivery`, at the root and at a sink.

use wasmill_core::delivery::Delivery;

use crate::place::Place;
use crate::reader::Reader;

/// The choice, and where it stands.
pub(crate) struct DeliverySpec {
    pub(crate) delivery: Delivery,
    pub(crate) place: Place,
}

/// Reads `delivery`; `None` where the file does not say.
pub(super) fn read(reader: &Reader<'_>) -> Option<DeliverySpec> {
    let choices = [Delivery::AtLeastOnce, Delivery::EffectivelyOnce, Delivery::ExactlyOnce]
        .map(|delivery| (delivery.name(), delivery));
    Some(DeliverySpec {
        delivery: reader.choice("delivery", &choices)?,
        place: reader.get("delivery")?.place.clone(),
    })
}
