//! `[control]`: where the job can be asked and told things.

use std::net::{Ipv4Addr, SocketAddr};

use wasmill_core::plan::ControlSettings;
use wasmill_core::secret::Secret;

use crate::codes;
use crate::reader::Reader;

/// Reads `[control]`; `None` where the file has none, or after an error.
pub(super) fn read(root: &Reader<'_>) -> Option<ControlSettings> {
    let table = root.table("control")?;
    let reader = Reader::new(table, "[control]", root.problems);
    let listen = listen(&reader);
    let token = token(&reader);
    let has_token = reader.get("token").is_some();
    reader.not_built(
        "tls",
        "leave the key out; listen on 127.0.0.1, and let a proxy in front of it speak TLS",
    );
    reader.finish();
    let listen = listen?;
    if !listen.ip().is_loopback() && !has_token {
        reader.problems.error(
            codes::OPEN_CONTROL,
            format!("anyone who reaches {listen} could stop the job"),
            &reader.get("listen")?.place,
            "listen on 127.0.0.1, or ask for a `token`, as in `token = \"${env:WASMILL_TOKEN}\"`",
        );
        return None;
    }
    Some(ControlSettings { listen, token })
}

fn listen(reader: &Reader<'_>) -> Option<SocketAddr> {
    let word = reader.word("listen");
    if word.is_none() && reader.get("listen").is_none() {
        reader.missing("listen", "say where, as in `listen = \"127.0.0.1:7070\"`");
    }
    let word = word?;
    let item = reader.get("listen")?;
    let local = word.text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let address = match local {
        Some(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => word.text.parse().ok(),
    };
    if address.is_none() {
        let written = &reader.text("listen")?.written;
        reader.invalid(
            item,
            format!("`listen` is not an address with a port: \"{written}\""),
            "write the numbers, as in \"127.0.0.1:7070\" or \"[::1]:7070\"",
        );
    }
    address
}

/// `token`: what can stand in a header of a request.
fn token(reader: &Reader<'_>) -> Option<Secret> {
    let word = reader.word("token")?;
    if !word.text.chars().all(|c| c.is_ascii_graphic()) {
        reader.invalid(
            reader.get("token")?,
            "`token` has characters that a request cannot bear",
            "use letters, digits and signs of ASCII, without spaces",
        );
        return None;
    }
    Some(Secret::new(word.text))
}
