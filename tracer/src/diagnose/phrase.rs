//! How things are said in a sentence.

/// `1 call`, `2,979 calls`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{} {noun}", thousands(number))
}

/// `2,979`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time, ns, to about two digits: `350 ms`, `4.6 s`, `95 s`, `13 min`, `2.1 h`.
pub(super) fn duration(ns: u64) -> String {
    let seconds = ns as f64 / 1e9;
    match seconds {
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 119.5 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Several of the same as one: `app[12]`, or `app[12] and 39 more processes`.
pub(super) fn and_more(first: &str, all: usize) -> String {
    match all {
        0 | 1 => first.to_owned(),
        2 => format!("{first} and 1 more process"),
        _ => format!("{first} and {} more processes", all - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(1, "call", "calls"), "1 call");
        assert_eq!(count(1_234_567, "call", "calls"), "1,234,567 calls");
        assert_eq!(thousands(999), "999");
        assert_eq!(duration(350_000_000), "350 ms");
        assert_eq!(duration(4_620_000_000), "4.6 s");
        assert_eq!(duration(95_000_000_000), "95 s");
        assert_eq!(duration(780_000_000_000), "13 min");
        assert_eq!(and_more("app[12]", 40), "app[12] and 39 more processes");
    }
}
