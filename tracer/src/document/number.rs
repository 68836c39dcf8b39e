//! Numbers for people. JSON has them exactly.

/// Microseconds in the unit that suits them.
#[must_use]
pub fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        1_000_000..600_000_000 => format!("{:.1} s", us as f64 / 1e6),
        _ => format!("{} min", us / 60_000_000),
    }
}

/// Bytes in the unit that suits them.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A part of a whole; a dash where there is no whole.
#[must_use]
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::from("-");
    }
    let percent = 100.0 * part as f64 / whole as f64;
    match percent {
        _ if part == 0 => String::from("0 %"),
        ..0.01 => String::from("< 0.01 %"),
        0.01..1.0 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// `1 socket`, `2 sockets`.
#[must_use]
pub fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A number that may be unknown.
#[must_use]
pub fn known(number: Option<impl ToString>) -> String {
    number.map_or_else(|| String::from("-"), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_suit() {
        assert_eq!(
            [time(7), time(1_500), time(2_000_000), time(900_000_000)],
            ["7 us", "1.5 ms", "2.0 s", "15 min"]
        );
        assert_eq!(
            [bytes(38), bytes(12_345), bytes(10_000_000)],
            ["38 B", "12.3 kB", "10.0 MB"]
        );
        assert_eq!(
            [
                share(1, 0),
                share(0, 9),
                share(1, 1_000_000),
                share(1, 300),
                share(1, 4)
            ],
            ["-", "0 %", "< 0.01 %", "0.33 %", "25.0 %"]
        );
    }
}
