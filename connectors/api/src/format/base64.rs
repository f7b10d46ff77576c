//! Base64 with the standard alphabet and padding (RFC 4648, section 4): how text formats write bytes.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of each byte of the alphabet; 255 for others.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut i = 0;
    while i < 64 {
        values[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    values
};

/// A text that is not canonical base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not base64")]
pub struct NotBase64;

/// Appends the text of `bytes`.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = u32::from(chunk[0]) << 16
            | u32::from(chunk.get(1).copied().unwrap_or(0)) << 8
            | u32::from(chunk.get(2).copied().unwrap_or(0));
        for place in 0..4 {
            let byte = ALPHABET[(group >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { byte } else { b'=' });
        }
    }
}

/// Appends the bytes of `text`.
///
/// # Errors
/// The text is not canonical base64; a part of it may have been appended.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
    if !text.len().is_multiple_of(4) {
        return Err(NotBase64);
    }
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let last = text.len().saturating_sub(4);
    for (at, chunk) in text.chunks_exact(4).enumerate() {
        let pad = if at * 4 == last { padding } else { 0 };
        let mut group = 0_u32;
        for &byte in &chunk[..4 - pad] {
            let value = VALUES[byte as usize];
            if value == 255 {
                return Err(NotBase64);
            }
            group = group << 6 | u32::from(value);
        }
        group <<= 6 * pad;
        let bytes = group.to_be_bytes();
        let (kept, cut) = bytes[1..].split_at(3 - pad);
        if cut.iter().any(|byte| *byte != 0) {
            return Err(NotBase64);
        }
        out.extend_from_slice(kept);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        encode(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_vectors_of_the_rfc_hold() {
        for (bytes, expect) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(text(bytes.as_bytes()), expect);
        }
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        for wrong in [
            "Zg", "Zg=", "Z===", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm9v\n", "====",
        ] {
            assert_eq!(decode(wrong.as_bytes(), &mut Vec::new()), Err(NotBase64), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            let mut back = Vec::new();
            decode(text(&bytes).as_bytes(), &mut back).unwrap();
            prop_assert_eq!(back, bytes);
        }
    }
}
