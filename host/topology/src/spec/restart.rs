//! `[restart]`: what follows a failure.

use wasmill_core::plan::RestartSettings;

use crate::document::Value;
use crate::place::Place;
use crate::reader::Reader;

/// `[restart]` as written.
pub(crate) struct Restart {
    /// The table's header.
    pub(crate) place: Place,
    pub(crate) settings: RestartSettings,
}

/// Reads `[restart]`; what is absent has its default.
pub(super) fn read(root: &Reader<'_>) -> Option<Restart> {
    let table = root.table("restart")?;
    let reader = Reader::new(table, "[restart]", root.problems);
    let default = RestartSettings::default();
    let attempts = reader.count("attempts", 0..=u64::from(u32::MAX));
    let help = "a job that fails at once would be restarted without a pause; the default is \"1s\"";
    let backoff = reader.duration_above_zero("backoff", help);
    let max_backoff = reader.duration_above_zero("max-backoff", help);
    reader.finish();
    let mut settings = RestartSettings {
        attempts: attempts.map_or(default.attempts, |attempts| {
            u32::try_from(attempts).expect("the reader has checked it")
        }),
        backoff: backoff.unwrap_or(default.backoff),
        max_backoff: max_backoff.unwrap_or(default.max_backoff),
    };
    if settings.max_backoff < settings.backoff {
        match (backoff, max_backoff, reader.get("max-backoff")) {
            (_, Some(longest), Some(item)) => reader.invalid(
                item,
                format!(
                    "`max-backoff` is {longest}, shorter than the first delay, {}",
                    settings.backoff
                ),
                "the delay doubles from `backoff` up to `max-backoff`",
            ),
            // Only the first delay is given: it is the longest, too.
            _ => settings.max_backoff = settings.backoff,
        }
    }
    if let (0, Some(item)) = (settings.attempts, reader.get("attempts"))
        && matches!(item.value, Value::Integer(0))
    {
        for key in ["backoff", "max-backoff"] {
            reader.pointless(key, "nothing is restarted: `attempts` is 0", "leave it out");
        }
    }
    Some(Restart {
        place: table.place.clone(),
        settings,
    })
}
