//! JSON by hand: a key, then a value.

/// An integer.
#[inline]
pub(crate) fn number(key: &[u8], value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A number.
#[inline]
pub(crate) fn float(key: &[u8], value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes());
}

/// A string.
#[inline]
pub(crate) fn text(key: &[u8], value: &str, out: &mut Vec<u8>) {
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    out.extend_from_slice(key);
    out.push(b'"');
    // Without an early exit the compiler looks at many bytes at once.
    if value.as_bytes().iter().fold(false, |found, byte| found | special(byte)) {
        out.extend_from_slice(value.replace('\\', "\\\\").replace('"', "\\\"").as_bytes());
    } else {
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'"');
}

/// Microseconds since 1970 as RFC 3339.
#[inline]
pub(crate) fn time(key: &[u8], micros: i64, out: &mut Vec<u8>) {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    out.extend_from_slice(key);
    out.push(b'"');
    digits(year, 4, out);
    let parts = [
        (b'-', month),
        (b'-', day),
        (b'T', of_day / 3600),
        (b':', of_day / 60 % 60),
        (b':', of_day % 60),
    ];
    for (separator, value) in parts {
        out.push(separator);
        digits(value, 2, out);
    }
    if fraction != 0 {
        out.push(b'.');
        digits(fraction, 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.extend_from_slice(b"Z\"");
}

#[inline]
fn digits(value: i64, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        out.push(b'0' + (value / 10_i64.pow(place) % 10) as u8);
    }
}

/// Year, month and day: <https://howardhinnant.github.io/date_algorithms.html>.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days - era * 146_097;
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (years + era * 400 + i64::from(month <= 2), month, day)
}
