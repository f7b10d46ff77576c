//! Numbers as text.

/// A decimal integer: an optional minus sign and digits, nothing else.
pub(crate) fn read_int64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    // Nineteen digits may overflow; the standard library judges those.
    if digits.len() > 18 {
        let plain = digits[0].is_ascii_digit();
        return plain.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten();
    }
    let mut value = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

/// The nearest double: digits, a point, an exponent, or `NaN`, `inf` and `-inf`.
pub(crate) fn read_float64(text: &[u8]) -> Option<f64> {
    if text.first() == Some(&b'+') {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_digits_and_nothing_else() {
        let check = |text: &str, expect| assert_eq!(read_int64(text.as_bytes()), expect, "{text}");
        check("0", Some(0));
        check("-17", Some(-17));
        check("007", Some(7));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        check("0000000000000000000000012", Some(12));
        for text in [
            "",
            "-",
            "+1",
            "1.5",
            "1e3",
            " 1",
            "1 ",
            "9223372036854775808",
            "--1",
            "-+1234567890123456789",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn integers_are_read_as_the_standard_library_reads_them(text in "-?[0-9]{0,21}") {
            prop_assert_eq!(read_int64(text.as_bytes()), text.parse().ok());
        }
    }
}
